#!/usr/bin/env bash
# Carries sessions from one machine to another: journals and reports as files, refs as a list, their commits as a git bundle.
#
# Usage: state.sh save|restore, in or with MAESTRO_ACTION_DIRECTORY (a checkout), and MAESTRO_ACTION_STATE (a directory outside
# of it). `restore` needs a clone that has the commits from which the sessions started (fetch-depth 0), and does nothing
# where nothing was saved. `save` keeps what the directory's last restore brought: it is written anew from the checkout.
# Exit 2 for wrong use, 6 where the state cannot be carried.
set -euo pipefail

say() { printf 'maestro-ci state: %s\n' "$*"; }
die() {
    local code=$1
    shift
    printf 'maestro-ci state: error: %s\n' "$*" >&2
    exit "$code"
}

state=${MAESTRO_ACTION_STATE:?}
# Relative paths are the workspace's, as everywhere in a workflow.
case $state in /*) ;; *) state=$PWD/$state ;; esac
cd -- "${MAESTRO_ACTION_DIRECTORY:-.}" 2> /dev/null || die 2 "the input \`working-directory\` names no directory"
top=$(git rev-parse --show-toplevel) || die 6 "there is no checkout here"
cd "$top"
case $top/ in "$state"/*) die 2 "the input \`state-dir\` names a directory that the checkout lies in" ;; esac

# Ours, and the result branch where it has a name of its own.
ours=(refs/maestro refs/tags/maestro refs/heads/maestro)
if [ -n "${MAESTRO_CI_BRANCH:-}" ] && git check-ref-format --branch "$MAESTRO_CI_BRANCH" > /dev/null 2>&1; then
    ours+=("refs/heads/$MAESTRO_CI_BRANCH")
fi

# Only a directory that is empty, or ours, is ever written anew.
is_ours() { [ -z "$(ls -A "$state" 2> /dev/null)" ] || [ -f "$state/refs.txt" ]; }

save() {
    is_ours || die 2 "the input \`state-dir\` names a directory that holds something else"
    rm -rf "$state"
    mkdir -p "$state"
    local name
    for name in sessions decisions; do
        [ ! -d ".flow/maestro/$name" ] || cp -R ".flow/maestro/$name" "$state/$name"
    done
    git for-each-ref --format='%(objectname) %(refname)' "${ours[@]}" > "$state/refs.txt"
    # A bundle leaves out refs to commits that it need not hold; the list above names them, too.
    local tips=()
    mapfile -t tips < <(git for-each-ref --format='%(refname)' "${ours[@]}")
    if [ ${#tips[@]} -gt 0 ] && [ "$(git rev-list --count "${tips[@]}" --not HEAD)" -gt 0 ]; then
        git bundle create --quiet "$state/objects.bundle" "${tips[@]}" --not HEAD || die 6 "the bundle cannot be written"
    fi
    say "saved $(sessions "$state/sessions") sessions and ${#tips[@]} refs"
}

sessions() { find "$1" -mindepth 2 -maxdepth 2 -name journal.jsonl 2> /dev/null | wc -l; }

misfit() {
    [ "$(git rev-parse --is-shallow-repository)" = false ] \
        || die 6 "this clone lacks the commits that the sessions started from; check out with fetch-depth: 0"
    die 6 "the history lacks the commits that the sessions started from: the base branch was rewritten." \
        "Delete the saved state (the artifact) to start anew"
}

restore() {
    is_ours || die 2 "the input \`state-dir\` names a directory that holds something else"
    if [ ! -f "$state/refs.txt" ]; then
        say "nothing to restore"
        return
    fi
    if [ -f "$state/objects.bundle" ]; then
        git bundle verify --quiet "$state/objects.bundle" 2> /dev/null || misfit
        # Objects only: which refs come back is for the list, and only ours do.
        git bundle unbundle "$state/objects.bundle" > /dev/null
    fi
    local object ref
    while read -r object ref; do
        case $ref in
            refs/maestro/* | refs/tags/maestro/* | refs/heads/maestro/*) ;;
            *) [ "$ref" = "refs/heads/${MAESTRO_CI_BRANCH:-}" ] || die 6 "the saved state holds a ref that is not ours" ;;
        esac
        git check-ref-format "$ref" || die 6 "the saved state holds a ref that is none"
        printf 'update %s %s\n' "$ref" "$object"
    done < "$state/refs.txt" > "$state/update.txt"
    git update-ref --stdin < "$state/update.txt" || die 6 "the refs of earlier sessions cannot be put back"
    rm -f "$state/update.txt"
    local name
    for name in sessions decisions; do
        [ -d "$state/$name" ] || continue
        mkdir -p ".flow/maestro/$name"
        cp -R "$state/$name/." ".flow/maestro/$name/"
    done
    say "restored $(sessions .flow/maestro/sessions) sessions and $(wc -l < "$state/refs.txt") refs"
}

case ${1:-} in
    save | restore) "$1" ;;
    *) die 2 "what to do? save or restore" ;;
esac
