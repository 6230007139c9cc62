. "$LIB"
try inspect --threads 1 --isa portable items.h5
try inspect --threads 1 --isa portable images.h5
try inspect --threads 1 --isa portable --base db --queries query images.h5
try inspect --threads 1 --isa portable --leaf second leaves.h5
try -q --metric l2 -k 2 --base db --queries query images.h5 out.h5
try show out.h5 0 1
try verify images.h5 out.h5
try -q --metric l2 -k 2 items.h5 items-out.h5
try show --tsv items-out.h5 'sp|P2' four
try items.h5 items-out.h5 --metric l2 -k 2
