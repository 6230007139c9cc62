engram-batch
