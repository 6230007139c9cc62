. "$LIB"
try_quietly --metric Cosine words.h5 out.h5
try_quietly --metric cos words.h5 out.h5
try_quietly --metric '' words.h5 out.h5
try_quietly --filter fast words.h5 out.h5
try_quietly --progress often words.h5 out.h5
try_quietly --base '' words.h5 out.h5
try_quietly --stats '' words.h5 out.h5
