. "$LIB"
engram-batch -q -k 3 words.h5 near.h5
try show -n 2 near.h5
try show --tsv --rows=2 near.h5
try show -q near.h5 word05 59
try show -n 0 near.h5
try show near.h5 word99
try show near.h5 word00 60
try show near.h5 -- -1
# Row numbers are those of the dataset, also where the job took a part of it.
engram-batch -q -k 2 --query-rows 10:20 words.h5 part.h5
try show --tsv part.h5 10 word19
try show part.h5 9
# An id that looks like a number is an id; other numbers are rows.
engram-batch -q -k 1 numbers.h5 numbered.h5
try show --tsv numbered.h5 1 0
# Pairs, and rows without any.
engram-batch -q --metric sqeuclidean --max-distance 150 words.h5 pairs.h5
try show -n 3 pairs.h5
