#!/usr/bin/env bash
# Becomes maestro-ci: same process, so signals reach it and its exit code is the step's.
#
# In: MAESTRO_ACTION_BIN, _DIRECTORY, _COMMAND, _ARGS (one argument a line); flags as MAESTRO_CI_… variables, where an empty
# one is none. maestro-ci itself writes outputs, job summary and reports, on every way out. Exit 2 for inputs that make no
# sense.
set -euo pipefail

die() {
    printf 'maestro-ci action: error: %s\n' "$*" >&2
    exit 2
}

bin=${MAESTRO_ACTION_BIN:?}
command=${MAESTRO_ACTION_COMMAND:-run}
case $command in
    run | check | plan | resume | report | status | publish) ;;
    none) exit 0 ;;
    *) die "the input \`command\` is none of run, check, plan, resume, report, status, publish, none" ;;
esac

arguments=()
while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    [ -z "$line" ] || arguments+=("$line")
done <<< "${MAESTRO_ACTION_ARGS:-}"

cd -- "${MAESTRO_ACTION_DIRECTORY:-.}" 2> /dev/null || die "the input \`working-directory\` names no directory"
unset MAESTRO_ACTION_BIN MAESTRO_ACTION_COMMAND MAESTRO_ACTION_ARGS MAESTRO_ACTION_DIRECTORY
exec "$bin" "$command" "${arguments[@]}"
