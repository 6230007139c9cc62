engram-batch -q --stats stats.json -k 3 words.h5 "$(printf 'out"\\\n\377.h5')"
echo "exit $?"
"$PYTHON" - <<'P'
import json
s = json.load(open("stats.json", encoding="utf-8"))
s.update({f"filter.{key}": value for key, value in s.pop("filter").items()})
for key in sorted(s):
    value = s[key]
    if isinstance(value, (str, bool, type(None))):
        varies = key in ("isa", "filter.name", "filter.reason", "version")
        print(key, "..." if varies else ascii(value))
    elif key in ("k", "queries", "base_rows", "dimensions", "answers", "pairs"):
        print(key, value)
    else:
        print(key, "a number")
P
ls | grep stats
