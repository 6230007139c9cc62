#!/bin/sh
# clang-format agrees with every C file.
set -eu
cd "$(dirname "$0")/.."

bad=0
for file in $(find src include tests -name '*.[ch]' | sort); do
    clang-format --dry-run -Werror "$file" 2>/dev/null || {
        echo "$file: run clang-format -i on it"
        bad=1
    }
done
[ "$bad" -eq 0 ] || exit 1
echo "every file is formatted"
