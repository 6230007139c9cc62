. "$LIB"
try show
try show ''
try show missing.h5
try show text.h5
try show words.h5
try show --bogus near.h5
try show -n near.h5 -n
try show -n x near.h5
try show -n 3 near.h5 word01
try show --threads 2 near.h5
try show --similarity near.h5
