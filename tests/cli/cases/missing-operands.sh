. "$LIB"
try words.h5
try inspect
try verify words.h5
try words.h5 ""
try "" out.h5
try words.h5 out.h5 more.h5
try inspect words.h5 out.h5
