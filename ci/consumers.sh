#!/usr/bin/env bash
# The programs that read our reports, at pinned versions, over the reports of eight runs made by the built binary: all pass,
# failed gate, failed requirement, budget stop, cancel, kill -9 and resume, hostile text, 10,000 tasks. What a program sees
# has to be what the run was; reports have to agree with each other and with the exit code. Then the checkers of the
# workflow templates. Writes docs/consumers.md. Fails at any disagreement, and where a consumer cannot be installed.
#
# Needs bash, git, python3 3.11 with venv, node 20 with npm, registries of Python and of npm packages, and cargo.
#
# Usage: ci/consumers.sh [--run NAME]… [--tasks N] [--keep DIR]
#   With --run or --tasks docs/consumers.md stays as it is and the templates are not looked at. --keep leaves the reports
#   in DIR.
# Environment: MAESTRO_CONSUMERS_CACHE   where the consumers are installed (target/consumers)
#              MAESTRO_BIN               a binary to use instead of building it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")

python_pins=("junitparser 5.0.3" "junit2html 31.1.4" "lxml 6.1.3" "check-jsonschema 0.39.0")
node_pins=("xunit-viewer 10.6.1" "@microsoft/sarif-multitool-linux 5.7.0")

step() { printf '== %s\n' "$*" >&2; }
die() { printf 'consumers: %s\n' "$*" >&2; exit 1; }

keep= arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=$2; shift 2 ;;
        --run|--tasks) arguments+=("$1" "$2"); shift 2 ;;
        *) die "unknown argument: $1" ;;
    esac
done

cache=${MAESTRO_CONSUMERS_CACHE:-$root/target/consumers}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT
# The caller's own settings must not decide the outcome.
for name in $(compgen -e MAESTRO_CI_ || true) $(compgen -e GIT_ || true) $(compgen -e GITHUB_ || true); do unset "$name"; done

step "the consumers, in $cache"
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
versions=()
for pin in "${python_pins[@]}"; do
    read -r package version <<< "$pin"
    has() { "$cache/venv/bin/python" -c "import importlib.metadata as m; print(m.version('$package'))" 2> /dev/null; }
    [ "$(has)" = "$version" ] || "$cache/venv/bin/pip" install --quiet "$package==$version" >&2 || die "no $package $version"
    [ "$(has)" = "$version" ] || die "$package is version '$(has)' instead of $version"
    versions+=(--version "$package=$version")
    printf '   %s %s\n' "$package" "$version" >&2
done
[ -f "$cache/package.json" ] || echo '{"name":"consumers","private":true}' > "$cache/package.json"
for pin in "${node_pins[@]}"; do
    read -r package version <<< "$pin"
    has() { node -p "require('$cache/node_modules/$package/package.json').version" 2> /dev/null; }
    [ "$(has)" = "$version" ] || (cd "$cache" && npm install --no-audit --no-fund --save-exact "$package@$version") >&2 \
        || die "no $package $version"
    [ "$(has)" = "$version" ] || die "$package is version '$(has)' instead of $version"
    versions+=(--version "$package=$version")
    printf '   %s %s\n' "$package" "$version" >&2
done

maestro=${MAESTRO_BIN-}
if [ -z "$maestro" ]; then
    step "maestro-ci"
    (cd "$root" && cargo build --release --locked -j2)
    maestro=$root/target/release/maestro-ci
fi

templates=$tmp/templates.md
: > "$templates"
if [ ${#arguments[@]} -eq 0 ]; then
    step "the templates"
    MAESTRO_BIN=$(realpath "$maestro") "$here/templates/check.sh" > "$templates"
fi

step "the runs"
status=0
python3 -B "$here/consumers/main.py" --maestro "$(realpath "$maestro")" --cache "$cache" --tmp "$tmp" \
    --docs "$root/docs/consumers.md" --templates "$templates" "${versions[@]}" ${arguments[@]+"${arguments[@]}"} || status=$?
if [ -n "$keep" ]; then
    mkdir -p "$keep"
    cp -r "$tmp/out/." "$keep/"
fi
[ "$status" = 0 ] || exit "$status"
step "all consumers agree"
