#!/usr/bin/env bash
# The HTML report in a real Chromium: pages of five runs made by the built binary (passed, failed, stopped at a limit,
# cancelled, crashed) and of a journal of 10,000 tasks. No request leaves, nothing is said on the console, axe finds
# nothing, no task takes over 200 ms while loading, scrolling or finding, no page has 10 MB, and without script
# everything can be read. Pictures of the five go to docs/screenshots with --pictures.
#
# Needs bash, git, python3 3.11, node 20 with npm and a registry of packages, Chromium (Debian's package), and cargo.
#
# Usage: ci/html.sh [--pictures] [--keep DIR] [--tasks N]
# Environment: MAESTRO_HTML_CACHE   where the packages are installed (target/html)
#              MAESTRO_BIN          a binary to use instead of building it
#              CHROMIUM             the browser (chromium)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")

pins=("playwright-core 1.65.1" "axe-core 4.14.1")

step() { printf '== %s\n' "$*" >&2; }
die() { printf 'html: %s\n' "$*" >&2; exit 1; }

keep= pictures= tasks=10000
while [ $# -gt 0 ]; do
    case $1 in
        --pictures) pictures=yes; shift ;;
        --keep) keep=$2; shift 2 ;;
        --tasks) tasks=$2; shift 2 ;;
        *) die "unknown argument: $1" ;;
    esac
done

chromium=$(command -v "${CHROMIUM:-chromium}") || die "no Chromium; on Debian: apt-get install chromium fonts-liberation"
cache=${MAESTRO_HTML_CACHE:-$root/target/html}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT
# The caller's own settings must not decide the outcome.
for name in $(compgen -e MAESTRO_CI_ || true) $(compgen -e GIT_ || true); do unset "$name"; done

step "the packages, in $cache"
[ -f "$cache/package.json" ] || echo '{"name":"html","private":true}' > "$cache/package.json"
for pin in "${pins[@]}"; do
    read -r package version <<< "$pin"
    has() { node -p "require('$cache/node_modules/$package/package.json').version" 2> /dev/null; }
    [ "$(has)" = "$version" ] || (cd "$cache" && npm install --no-audit --no-fund --save-exact "$package@$version") >&2 \
        || die "no $package $version"
    [ "$(has)" = "$version" ] || die "$package is version '$(has)' instead of $version"
done

maestro=${MAESTRO_BIN-}
if [ -z "$maestro" ]; then
    step "maestro-ci"
    (cd "$root" && cargo build --release --locked -j2)
    maestro=$root/target/release/maestro-ci
fi
maestro=$(realpath "$maestro")

step "the runs"
python3 -B "$here/html/runs.py" "$maestro" "$tmp" "$tmp/pages"
step "$tasks tasks"
python3 -B "$here/html/journal.py" "$tmp/large" "$tasks"
"$maestro" report --repo "$tmp/large" --format html > "$tmp/pages/large.html"

step "the browser"
status=0
node "$here/html/look.mjs" "$cache" "$chromium" "$tmp/pages" "$tmp/shots" large || status=$?
if [ -n "$keep" ]; then
    mkdir -p "$keep"
    cp -r "$tmp/pages" "$tmp/shots" "$keep/"
fi
[ "$status" = 0 ] || exit "$status"
if [ -n "$pictures" ]; then
    mkdir -p "$root/docs/screenshots"
    for name in passed failed budget cancelled crashed; do
        cp "$tmp/shots/$name-light.png" "$tmp/shots/$name-dark.png" "$root/docs/screenshots/"
    done
fi
step "every page holds"
