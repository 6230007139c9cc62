. "$LIB"
try_quietly --s words.h5 out.h5
try_quietly --me=l2 words.h5 out.h5
try_quietly --ba words.h5 out.h5
try_quietly --m words.h5 out.h5
