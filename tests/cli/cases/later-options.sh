. "$LIB"
for option in --shard --from-scratch; do
    try_quietly $option words.h5 out.h5
    try_quietly words.h5 out.h5 $option
done
for option in --shard=1/2 --sha=1/2; do
    try_quietly $option words.h5 out.h5
done
outputs
