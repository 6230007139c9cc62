engram-batch show --help
