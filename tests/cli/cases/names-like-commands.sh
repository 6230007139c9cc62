. "$LIB"
cp words.h5 show
cp words.h5 inspect
cp words.h5 -- -k
engram-batch -q ./show a.h5 || echo "exit $?"
engram-batch -q -- ./inspect b.h5 || echo "exit $?"
engram-batch -q -- -k c.h5 || echo "exit $?"
cmp a.h5 b.h5 && cmp a.h5 c.h5
engram-batch -q words.h5 verify && ls verify
