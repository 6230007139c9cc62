. "$LIB"
engram-batch -v words.h5 out.h5 2>summary
echo "exit $?"
plain_summary <summary | grep '^  [a-z]' | cut -c 1-10
