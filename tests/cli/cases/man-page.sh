# From the same table as the help: every option in the help is in the page.
engram-batch --print-man-page >page
sed -n 's/^\.SH //p' page
tr -d '\\' <page >plain
engram-batch --help | grep -o -e '--[a-z-]*' | sort -u | while read -r option; do
    grep -q -e "$option" plain || echo "missing: $option"
done
if command -v man >/dev/null 2>&1 && man --version >/dev/null 2>&1; then
    LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z page >/dev/null
fi
