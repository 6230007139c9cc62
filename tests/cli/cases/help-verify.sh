engram-batch verify --help
