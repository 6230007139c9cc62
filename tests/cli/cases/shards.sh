# A job in two shards, and merge.
. "$LIB"
try -q --shard=1/2 words.h5 out.h5
try -q words.h5 out.h5 --sha=2/2
try --shard=2/2 words.h5 out.h5
ls out*
try show -n 1 out.shard-1-of-2.h5
try merge out.shard-2-of-2.h5 joined.h5
try merge out.shard-1-of-2.h5 out.shard-2-of-2.h5
try merge out.shard-1-of-2.h5 out.shard-2-of-2.h5 out.shard-1-of-2.h5 joined.h5
try merge out.shard-1-of-2.h5 words.h5 joined.h5
try merge out.shard-1-of-2.h5 out.shard-2-of-2.h5 joined.h5
try merge out.shard-1-of-2.h5 out.shard-2-of-2.h5 joined.h5
try -q words.h5 whole.h5
cmp joined.h5 whole.h5
try merge whole.h5 joined.h5
try merge joined.h5
try merge
try merge --rows 3 out.shard-1-of-2.h5 joined.h5
try --shard 3/2 words.h5 out.h5
