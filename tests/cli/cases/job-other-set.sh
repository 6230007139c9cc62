. "$LIB"
engram-batch -k3 --metric l2 --base words.h5 --queries /test ann.h5 out.h5 2>summary
echo "exit $?"
plain_summary <summary >&2
