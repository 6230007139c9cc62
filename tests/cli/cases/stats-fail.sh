# The result stays when the statistics cannot be written.
. "$LIB"
try -q --stats missing/stats.json words.h5 a.h5
try -q --stats /dev/full words.h5 b.h5
try -q --stats folder.h5 words.h5 c.h5
cmp a.h5 b.h5 && cmp a.h5 c.h5
