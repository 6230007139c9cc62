# On two screens at most, and no line wider than a terminal.
engram-batch --help >help
[ "$(wc -l <help)" -le 90 ] || echo "too long"
awk 'length > 80' help
