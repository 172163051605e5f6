#!/bin/sh
# Runs all tests, prints a line for each, and writes report.xml in JUnit's format.
cd "$(dirname "$0")/.." || exit 1
for file in lib/*.sh; do [ -e "$file" ] && . "$file"; done
cases= total=0 failed=0

expect() { # name, expected, actual
    total=$((total + 1))
    if [ "$2" = "$3" ]; then
        echo "ok   $1"
        cases="$cases<testcase classname=\"textkit\" name=\"$1\" time=\"0.001\"/>"
    else
        echo "FAIL $1: expected \"$2\", got \"$3\""
        failed=$((failed + 1))
        cases="$cases<testcase classname=\"textkit\" name=\"$1\" time=\"0.001\"><failure message=\"unexpected result\"/></testcase>"
    fi
}

expect "FR-1 trim both ends" "a b" "$(trim '  a b	 ' 2>/dev/null)"
expect "FR-1 trim nothing" "x" "$(trim 'x' 2>/dev/null)"
expect "FR-2 upper case" "ABC 1" "$(upper 'abc 1' 2>/dev/null)"
expect "FR-3 slug" "hello-world-2" "$(slug ' Hello, World! (2) ' 2>/dev/null)"
expect "FR-4 words" "3" "$(words ' one  two three ' 2>/dev/null)"
expect "FR-4 no words" "0" "$(words '' 2>/dev/null)"
expect "FR-5 command" "HI" "$(bin/textkit upper hi 2>/dev/null)"
bin/textkit nonsense 2>/dev/null
expect "FR-5 unknown function" "2" "$?"

printf '<testsuites><testsuite name="textkit" tests="%s" failures="%s">%s</testsuite></testsuites>\n' \
    "$total" "$failed" "$cases" > report.xml
echo "$((total - failed)) of $total passed"
[ "$failed" = 0 ]
