#!/usr/bin/env bash
# The programs that read our reports, at pinned versions, over the reports of ten runs made by the built binary: all pass,
# failed gate, failed requirement, budget stop, cancel, not delivered, kill -9, its resume, hostile text, 10,000 tasks. What a
# program sees has to be what the run was; reports have to agree with each other and with the exit code. Then the checkers of the
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
. "$(dirname "$0")/lib.sh"

python_pins=("junitparser 5.0.3" "junit2html 31.1.4" "lxml 6.1.3" "check-jsonschema 0.39.0")
node_pins=("xunit-viewer 10.6.1" "@microsoft/sarif-multitool-linux 5.7.0")

keep='' arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=$2; shift 2 ;;
        --run|--tasks) arguments+=("$1" "$2"); shift 2 ;;
        *) die "unknown argument: $1" ;;
    esac
done

use_cache "${MAESTRO_CONSUMERS_CACHE:-$root/target/consumers}"
step "the consumers, in $cache"
packages pip "${python_pins[@]}"
packages npm "${node_pins[@]}"
versions=()
for pin in "${python_pins[@]}" "${node_pins[@]}"; do
    versions+=(--version "${pin/ /=}")
done
use_maestro

templates=$tmp/templates.md
: > "$templates"
if [ ${#arguments[@]} -eq 0 ]; then
    step "the templates"
    MAESTRO_BIN=$maestro "$root/ci/templates/check.sh" > "$templates"
fi

step "the runs"
status=0
python3 -B "$root/ci/consumers/main.py" --maestro "$maestro" --cache "$cache" --tmp "$tmp" \
    --docs "$root/docs/consumers.md" --templates "$templates" "${versions[@]}" ${arguments[@]+"${arguments[@]}"} || status=$?
if [ -n "$keep" ]; then
    mkdir -p "$keep"
    cp -r "$tmp/out/." "$keep/"
fi
[ "$status" = 0 ] || exit "$status"
step "all consumers agree"
