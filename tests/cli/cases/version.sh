engram-batch --version | head -n 1
engram-batch inspect --version | sed -n '2s/portable.*/portable .../p'
