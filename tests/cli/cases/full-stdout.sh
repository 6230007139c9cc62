. "$LIB"
for command in --help --version "inspect words.h5"; do
    engram-batch $command >/dev/full
    echo "exit $?"
done
engram-batch --help >&-
echo "exit $?"
