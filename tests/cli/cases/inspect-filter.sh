. "$LIB"
# Shares and costs are an estimate, and may differ in their last digits from compiler to compiler.
filters() {
    sed -n -e 's/[-+.0-9e]* % of/S % of/' -e 's/cost [0-9.]*/cost C/' -e 's/[0-9][0-9]* axes/N axes/' \
        -e '/^filter/,/^work/{/^work/!p;}' -e '/^\$/p' -e '/^exit/p'
}
cp "$DATA/glove-20k.h5" "$DATA/minilm-778x384.h5" .
for more in '-k 10' '--min-similarity 0.8' '--query-rows :4' '--filter prefix' '--all' '--metric l1'; do
    # shellcheck disable=SC2086
    try inspect --isa portable $more glove-20k.h5 | filters
done
try inspect --isa portable minilm-778x384.h5 | filters
try inspect --isa portable words.h5 | filters
