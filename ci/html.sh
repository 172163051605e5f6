#!/usr/bin/env bash
# The HTML report in a real Chromium: pages of five runs made by the built binary (passed, failed, stopped at a limit,
# cancelled, crashed) and of a journal of 10,000 tasks. No request leaves, nothing is said on the console, axe finds
# nothing, no task takes over 200 ms while loading, scrolling or finding, no page has 10 MB, and without script
# everything can be read. With --pictures, pictures of the five and of the failed one's comment go to docs/screenshots.
#
# Needs bash, git, python3 3.11, node 20 with npm and a registry of packages, Chromium (Debian's package), and cargo.
#
# Usage: ci/html.sh [--pictures] [--keep DIR] [--tasks N]
# Environment: MAESTRO_HTML_CACHE   where the packages are installed (target/html)
#              MAESTRO_BIN          a binary to use instead of building it
#              CHROMIUM             the browser (chromium)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

pins=("playwright-core 1.65.1" "axe-core 4.14.1" "marked 15.0.12")

keep='' pictures='' tasks=10000
while [ $# -gt 0 ]; do
    case $1 in
        --pictures) pictures=yes; shift ;;
        --keep) keep=$2; shift 2 ;;
        --tasks) tasks=$2; shift 2 ;;
        *) die "unknown argument: $1" ;;
    esac
done

chromium=$(command -v "${CHROMIUM:-chromium}") || die "no Chromium; on Debian: apt-get install chromium fonts-liberation"
use_cache "${MAESTRO_HTML_CACHE:-$root/target/html}"
step "the packages, in $cache"
packages npm "${pins[@]}"
use_maestro

step "the runs"
python3 -B "$root/ci/html/runs.py" "$maestro" "$tmp" "$tmp/pages"
step "$tasks tasks"
python3 -B "$root/ci/html/journal.py" "$tmp/large" "$tasks"
"$maestro" report --repo "$tmp/large" --format html > "$tmp/pages/large.html"

step "the browser"
status=0
node "$root/ci/html/look.mjs" "$cache" "$chromium" "$tmp/pages" "$tmp/shots" large || status=$?
if [ -n "$keep" ]; then
    mkdir -p "$keep"
    cp -r "$tmp/pages" "$tmp/shots" "$keep/"
fi
[ "$status" = 0 ] || exit "$status"
if [ -n "$pictures" ]; then
    mkdir -p "$root/docs/screenshots"
    "$maestro" report --repo "$tmp/failed" --format comment > "$tmp/comment.md"
    node "$root/ci/html/comment.mjs" "$cache" "$chromium" "$tmp/comment.md" "$tmp/shots"
    for name in passed failed budget cancelled crashed comment; do
        cp "$tmp/shots/$name-light.png" "$tmp/shots/$name-dark.png" "$root/docs/screenshots/"
    done
fi
step "every page holds"
