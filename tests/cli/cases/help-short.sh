engram-batch -h | cmp - "$(engram-batch --help >help; echo help)"
