. "$LIB"
for option in --from-scratch; do
    try_quietly $option words.h5 out.h5
    try_quietly words.h5 out.h5 $option
done
outputs
