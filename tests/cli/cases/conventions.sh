# The same job written in several ways gives the same file.
engram-batch -q -k 5 --metric l2 words.h5 a.h5
engram-batch words.h5 -k5 b.h5 --metric=l2 -q
engram-batch -qk5 --metr euclidean -- words.h5 c.h5
engram-batch -q -k 9 -k 5 --metric ip --metric l2 --no-such-option words.h5 d.h5 2>/dev/null ||
    engram-batch -q -k 9 -k 5 --metric ip --metric l2 words.h5 d.h5
for file in b c d; do
    cmp a.h5 $file.h5
done
