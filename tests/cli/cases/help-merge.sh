engram-batch merge --help
