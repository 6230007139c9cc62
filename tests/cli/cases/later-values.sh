. "$LIB"
try_quietly merge part1.h5 part2.h5 out.h5
try_quietly merge --help
