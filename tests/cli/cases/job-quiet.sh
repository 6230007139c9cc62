engram-batch -q words.h5 out.h5
