. "$LIB"
try odd-items.h5 out.h5
try inspect odd-items.h5
try leaves.h5 out.h5
try --leaf third leaves.h5 out.h5
try --leaf x words.h5 out.h5
try --base db --queries nothing images.h5 out.h5
outputs
