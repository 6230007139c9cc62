. "$LIB"
engram-batch -q words.h5 out.h5
cp -p out.h5 before.h5
try words.h5 out.h5
try -q --threads 1 words.h5 out.h5
cmp out.h5 before.h5
[ out.h5 -nt before.h5 ] && echo "written again"
exit 0
