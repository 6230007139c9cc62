. "$LIB"
engram-batch missing.h5 out.h5
code=$?
outputs
exit $code
