# shellcheck shell=sh
# For cases with several commands; $LIB.

# Runs the command with these arguments and says so on both streams, with the exit code on stdout.
try() {
    echo "$ engram-batch $*"
    echo "$ engram-batch $*" >&2
    code=0
    engram-batch "$@" || code=$?
    echo "exit $code"
}

# The same without the end of a usage error, which is always the same.
try_quietly() {
    try "$@" 2>messages
    sed "s/; try 'engram-batch [a-z ]*--help'$//" messages >&2
}

# Replaces what differs from run to run and from machine to machine in a summary.
plain_summary() {
    sed -e 's/[0-9.]* [kMGT]\{0,1\}pairs\/s/R pairs\/s/' -e 's/[0-9.]* GFLOP/F GFLOP/' \
        -e 's/[-+0-9.e]* % rescored/S % rescored/' -e 's/[0-9.]* s\([:,]\)/T s\1/g' \
        -e 's/[0-9.]* s$/T s/' \
        -e 's/^  kernels .*/  kernels  ISA, NAME filter, N threads, arena high-water mark B/'
}

# Says which files are there under the usual name of the output, also temporary ones.
outputs() {
    ls -d out.h5* .out.h5* 2>/dev/null || :
}
