# Options of another command.
. "$LIB"
try inspect --force words.h5
try verify -k 3 words.h5 out.h5
try --full words.h5 out.h5
