. "$LIB"
try_quietly words.h5 out.h5 -k
try_quietly words.h5 out.h5 --base
try_quietly words.h5 out.h5 --metric
try_quietly --self=yes words.h5 out.h5
try_quietly --force=1 words.h5 out.h5
