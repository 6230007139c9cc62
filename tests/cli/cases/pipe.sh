# A reader that goes away is no reason for a message.
{ engram-batch --help; echo "exit $?" >code; } | true
engram-batch -q words.h5 out.h5
{ engram-batch show out.h5 0; } | true
{ engram-batch inspect words.h5; } | true
# A log that goes away does not end the job.
{ engram-batch --progress lines words.h5 other.h5 2>&1; echo "exit $?" >code; } | true
cat code
cmp out.h5 other.h5
