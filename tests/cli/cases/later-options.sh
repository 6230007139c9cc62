. "$LIB"
for option in --all --pairwise --similarity --float64 --subset --exclude-same --labels \
    --components --leaf --dtype --memory --shard --from-scratch --max-pairs --tmpdir \
    --allow-external; do
    try_quietly $option words.h5 out.h5
    try_quietly words.h5 out.h5 $option
done
for option in --subset=x --memory=4G --shard=1/2 --dtype=int8 --max-pairs=9 --sha=1/2; do
    try_quietly $option words.h5 out.h5
done
outputs
