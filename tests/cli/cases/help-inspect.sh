engram-batch inspect --help
