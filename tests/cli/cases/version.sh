engram-batch --version | sed -e 's/5 [0-9.]*/5 N/' -e 's/zlib [0-9].*/zlib N .../' -e 's/portable.*/portable .../'
engram-batch inspect --version | head -n 1
engram-batch show --version | head -n 1
