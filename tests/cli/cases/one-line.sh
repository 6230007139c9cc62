# A name that holds anything at all still makes one line.
name=$(printf 'no\nsuch\033[2J\tfile.h5')
engram-batch "$name" out.h5 2>&1 | wc -l | tr -d ' '
engram-batch inspect "$name" 2>&1 | wc -l | tr -d ' '
engram-batch show "$name" 2>&1 | wc -l | tr -d ' '
engram-batch words.h5 "no/$name" 2>&1 | cat -v
