engram-batch --version | sed -e 's/[0-9]*\.[0-9]*\.[0-9][.0-9]*/N/' -e 's/portable.*/portable .../'
engram-batch inspect --version | head -n 1
engram-batch show --version | head -n 1
