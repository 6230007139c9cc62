. "$LIB"
for k in 0 -1 +1 1.5 1e3 0x10 5x ' 5' '5 ' '' 2147483648 99999999999999999999 ten; do
    try_quietly -k "$k" words.h5 out.h5
done
for level in -1 10 x ''; do
    try_quietly --compress "$level" words.h5 out.h5
done
for threads in 0 -2 1,2 4097; do
    try_quietly --threads "$threads" words.h5 out.h5
done
for range in : 5 5:3 -1:3 1:x 1:2:3 '1: 2' 1-2 99999999999999999999: ''; do
    try_quietly --base-rows "$range" words.h5 out.h5
done
try_quietly --query-rows 2:1 words.h5 out.h5
for x in nan -nan x 1e999 -1e999 1,5 ' 1' '1 ' 1x '' -inf; do
    try_quietly --max-distance="$x" words.h5 out.h5
done
for x in inf -inf nan 0.5.5; do
    try_quietly --min-similarity="$x" words.h5 out.h5
done
for n in 0 -5 all; do
    try_quietly verify --sample="$n" words.h5 out.h5
done
outputs
