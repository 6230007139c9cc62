. "$LIB"
try_quietly --bogus words.h5 out.h5
try_quietly --bogus=3 words.h5 out.h5
try_quietly -z words.h5 out.h5
try_quietly -qz words.h5 out.h5
try_quietly --print-man-page words.h5 out.h5
# Nothing that a terminal would obey.
engram-batch "--bo$(printf '\033[31m')" words.h5 out.h5 2>&1 | cat -v
outputs
