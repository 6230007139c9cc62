. "$LIB"
engram-batch -v inspect --help | head -n 1
engram-batch --threads 1 verify --help | head -n 1
engram-batch -k inspect words.h5 out.h5
