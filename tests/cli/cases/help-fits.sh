# On one screen, and no line wider than a terminal.
engram-batch --help >help
[ "$(wc -l <help)" -le 60 ] || echo "too long"
awk 'length > 80' help
