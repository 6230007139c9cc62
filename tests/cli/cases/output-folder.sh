. "$LIB"
try words.h5 missing/out.h5
try words.h5 folder.h5
try --force words.h5 folder.h5
ls -A folder.h5
