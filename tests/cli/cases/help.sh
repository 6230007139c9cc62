engram-batch --help
