#!/bin/sh
# clang-format agrees with every C file.
set -eu
cd "$(dirname "$0")/.."

find src include tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
