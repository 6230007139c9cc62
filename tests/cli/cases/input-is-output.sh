. "$LIB"
cp words.h5 copy.h5
ln -s words.h5 link.h5
ln words.h5 hard.h5
for out in words.h5 ./words.h5 link.h5 hard.h5; do
    try --force words.h5 $out
done
try --force --base words.h5 --queries test ann.h5 words.h5
cmp words.h5 copy.h5
