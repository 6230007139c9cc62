. "$LIB"
{
    try --isa sse9 words.h5 out.h5
    try -q --isa portable words.h5 a.h5
    ENGRAM_ISA=portable engram-batch -q words.h5 b.h5
    ENGRAM_ISA=sse9 engram-batch -q words.h5 c.h5
    echo "exit $?"
} 2>all
sed -e 's/can run: .*/can run: .../' all >&2
cmp a.h5 b.h5
