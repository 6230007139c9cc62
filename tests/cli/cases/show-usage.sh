. "$LIB"
try show
try show missing.h5
try show text.h5
try show --bogus words.h5
try show words.h5
