. "$LIB"
# Kernels and memory are the machine's and the planner's business.
plain() {
    sed -e 's/^kernels .*/kernels .../' -e 's/^memory .*/memory .../' -e 's/, .* GFLOP/, F GFLOP/' \
        -e 's/(.* free)/(F free)/'
}
try inspect words.h5 | plain
try inspect ann.h5 | plain
try inspect --base words.h5 --queries test --metric ip --max-distance -0x10p-1 --base-rows 10: \
    ann.h5 | plain
try inspect --base words.h5 --queries test --metric cosine --max-distance 0.1 --max-pairs 50 \
    --tmpdir . ann.h5 | plain
try inspect --base first --queries group/second -k 3 several.h5 | plain
try inspect several.h5
