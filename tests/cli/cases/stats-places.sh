engram-batch -q --stats /dev/stdout words.h5 a.h5 | head -n 1
engram-batch -q --stats /dev/stderr words.h5 b.h5 2>err
head -n 1 err
ln -s target.json link.json
engram-batch -q --stats link.json words.h5 c.h5
[ -L link.json ] && head -n 1 target.json
engram-batch -q --stats stats.json words.h5 d.h5
engram-batch -q --stats stats.json words.h5 d.h5
grep outcome stats.json
