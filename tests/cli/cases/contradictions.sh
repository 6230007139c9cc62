. "$LIB"
try_quietly --all --pairwise words.h5 out.h5
try_quietly --all -k 3 words.h5 out.h5
try_quietly --pairwise --max-distance 1 words.h5 out.h5
try_quietly --labels x --components --max-distance 1 words.h5 out.h5
try_quietly --labels x -k 3 words.h5 out.h5
try_quietly --components words.h5 out.h5
try_quietly --components --max-distance 1 --similarity words.h5 out.h5
try_quietly --max-pairs 0 words.h5 out.h5
try_quietly --max-pairs 5 words.h5 out.h5
try_quietly --memory 12X words.h5 out.h5
try_quietly --memory 0 words.h5 out.h5
outputs
