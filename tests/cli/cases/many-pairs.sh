. "$LIB"
# Self pairs of words.h5 within the threshold: exactly as many as allowed, one more, one a row.
n=$(engram-batch -q --max-distance inf words.h5 all.h5 && "$PYTHON" -c 'import h5py
print(h5py.File("all.h5")["pairs/data"].shape[0])')
try -q --max-distance inf --max-pairs "$n" --tmpdir . words.h5 a.h5
cmp all.h5 a.h5
for less in $((n - 1)) 1; do
    try -q --max-distance inf --max-pairs "$less" words.h5 b.h5
done
try -q --max-distance inf -k 1 --max-pairs 3 words.h5 b.h5
try -q --max-distance inf --tmpdir missing words.h5 b.h5
try -q --max-distance inf --tmpdir words.h5 words.h5 b.h5
try -q -k 1 --tmpdir . words.h5 c.h5
ls -d [a-z].h5* engram-batch* 2>/dev/null || :
