#!/usr/bin/env bash
# The main job on a real project that is not ours: a pinned source package, five requirements with dependencies
# between them, an agent that gets one of them wrong at first, the project's own tests as the gate. Then everything
# that was promised is checked from outside. Needs git, python3 with venv, and a package index for pip.
#
# Usage: ci/real-project.sh [MAESTRO_CI_BINARY]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
here=$root/ci/real-project

binary=${1-}
if [ -z "$binary" ]; then
    binary=$root/target/release/maestro-ci
    [ -x "$binary" ] || (cd "$root" && cargo build --release --locked -j2)
fi
binary=$(realpath "$binary")

export HOME=$tmp/home
mkdir "$HOME" "$tmp/work" "$tmp/out"

step "the project's source package"
# No cache: a run without the index must fail, not pass on yesterday's file.
python3 -m venv "$tmp/venv"
python=$tmp/venv/bin/python
"$python" -m pip download --quiet --no-cache-dir --no-binary humanize --no-deps --require-hashes \
    --dest "$tmp/source" -r "$here/source.txt" >&2
"$python" -m pip install --quiet -r "$here/requirements.txt" >&2
repo=$tmp/repo
mkdir "$repo"
tar -xzf "$tmp"/source/*.tar.gz --strip-components=1 -C "$repo"

step "a repository with a draft of the PRD"
cd "$repo"
git init --quiet --initial-branch=main
git config user.name user
git config user.email user@localhost
# The package holds generated files that its own .gitignore names; the tests need them.
git add --all --force
git commit --quiet -m "The source package"
mkdir -p docs .flow/maestro
cp "$here/prd.md" docs/prd.md
sed "s|@PYTHON@|$python|" "$here/config.yaml" > .flow/maestro/config.yaml
git add --all
git commit --quiet -m "A PRD and the configuration"

# The agent and the gate run behind walls; beyond the standard places they read the agent's script and its interpreter.
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
run=("$binary" --prd docs/prd.md -j2 --work-dir "$tmp/work"
    --set "sandbox.read=[\"$tmp/venv\", \"$here\", \"$prefix\"]"
    --agent-cmd "'$python' -B '$here/agent.py'"
    --json "$tmp/out/report.json" --junit "$tmp/out/junit.xml" --markdown "$tmp/out/report.md")

code=0
"${run[@]}" > "$tmp/out/draft.log" 2>&1 < /dev/null || code=$?
[ "$code" = 4 ] || { cat "$tmp/out/draft.log" >&2; die "a draft gave exit code $code instead of 4"; }
! git for-each-ref | grep maestro >&2 || die "a refused PRD left refs"

step approval
"$binary" approve --prd docs/prd.md >&2
git commit --quiet -am "Approve the PRD"

# Everything of the checkout that a run must leave alone; optional locks would let `git status` write the index.
snapshot() {
    export GIT_OPTIONAL_LOCKS=0
    git rev-parse HEAD
    git symbolic-ref HEAD
    git status --porcelain --ignored -- ':!.flow/maestro/sessions' ':!.flow/maestro/decisions'
    git ls-files --stage | sha256sum
    git stash list
    git for-each-ref | grep -v maestro
    sha256sum .git/index .git/config .git/HEAD
    ls .git/hooks
    find . -path ./.git -prune -o -path ./.flow/maestro/sessions -prune -o -path ./.flow/maestro/decisions -prune \
        -o -type f -print0 | sort -z | xargs -0 sha256sum
}
snapshot > "$tmp/before"

step "the run"
"${run[@]}" > "$tmp/out/stdout" 2> "$tmp/out/log" < /dev/null || code_of_run=$?
cat "$tmp/out/log" >&2
[ "${code_of_run-0}" = 0 ] || die "exit code $code_of_run"

step "what must hold afterwards"
snapshot > "$tmp/after"
diff "$tmp/before" "$tmp/after" >&2 || die "the user's checkout changed"
[ ! -s "$tmp/out/stdout" ] || die "standard output is not empty"
[ -z "$(ls -A "$tmp/work")" ] || die "a workspace is left: $(ls "$tmp/work")"
git fsck --no-dangling --no-progress >&2 || die "git fsck found something"
# Anything but this script that has the directory on its command line or works in it.
for proc in /proc/[0-9]*; do
    pid=${proc#/proc/}
    case $pid in "$$" | "$BASHPID") continue ;; esac
    line=$(tr '\0' ' ' 2> /dev/null < "$proc/cmdline") || continue
    case "$line $(readlink "$proc/cwd" 2> /dev/null || true)" in
        *"$tmp"*) die "a process is left: $pid $line" ;;
    esac
done

# The tests of one commit, in a clone that knows nothing of the run, with the project's own runner.
tests_of() { # REVISION RESULT [FILE…]
    local clone=$tmp/clone-${1//\//-} result=$2 revision=$1
    shift 2
    [ -d "$clone" ] || git clone --quiet --no-local --single-branch --branch "$revision" "file://$repo" "$clone"
    (cd "$clone" && PYTHONPATH=src "$python" -m pytest -q --color=no -p no:cacheprovider --junitxml="$result" "$@") >&2
}
branch=maestro/sizes-and-shares
git rev-parse --quiet --verify "refs/heads/$branch" > /dev/null || die "there is no branch $branch"
tests_of main "$tmp/out/base.xml"
tests_of "$branch" "$tmp/out/final.xml"
tests_of "$branch" "$tmp/out/new.xml" tests/test_fr{1..5}.py

"$python" - "$tmp/out" "$branch" <<'PY'
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as xml

out, branch = pathlib.Path(sys.argv[1]), sys.argv[2]
REQUIREMENTS = [f"FR-{n}" for n in range(1, 6)]


def same(what, got, expected):
    if got != expected:
        sys.exit(f"real-project: {what}: {got!r} instead of {expected!r}")


def git(*args):
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True).stdout.strip()


def counted(name):
    cases = xml.parse(out / name).getroot().findall(".//testcase")
    bad = [c.get("name") for c in cases if {"failure", "error", "skipped"} & {child.tag for child in c}]
    same(f"red or skipped tests in {name}", bad, [])
    return len(cases)


report = json.loads((out / "report.json").read_text())
session = report["session"]
same("verdict", (report["verdict"], report["exit_code"]), ("passed", 0))
same("requirements", [(r["id"], r["status"]) for r in report["requirements"]], [(r, "met") for r in REQUIREMENTS])
same("tasks", sorted(t["requirements"][0] for t in report["tasks"] if t["status"] == "done"), REQUIREMENTS)
same("number of tasks", len(report["tasks"]), 5)
attempts = {t["requirements"][0]: [a["outcome"] for a in t["attempts"]] for t in report["tasks"]}
good = ["integrated"]
same("attempts", attempts, {**dict.fromkeys(REQUIREMENTS, good), "FR-3": ["failed", *good]})
of = {t["requirements"][0]: t["id"] for t in report["tasks"]}
needs = {t["requirements"][0]: sorted(t["depends_on"]) for t in report["tasks"]}
wanted = {"FR-4": ["FR-1"], "FR-5": ["FR-1", "FR-3", "FR-4"]}
same("dependencies", needs, {r: sorted(of[n] for n in wanted.get(r, [])) for r in REQUIREMENTS})

# Six attempts, each with 2500 + 400 tokens, 2 calls and 2 cents as its last word.
budget = report["budget"]
used = [budget[name]["used"] for name in ("tokens", "api_calls", "cost_microusd")] + [budget["source"]]
same("usage", used, [6 * 2900, 6 * 2, 6 * 20_000, "reported"])

# Commits: one per requirement, each with its trailers, then the PRD's status.
base = git("rev-parse", "main")
same("base", report["base"]["commit"], base)
commits = git("rev-list", "--reverse", f"main..{branch}").split()
trailers = lambda commit, key: git("log", "-1", f"--format=%(trailers:key={key},valueonly)", commit).split()
*work, last = commits
same("requirements of the commits", sorted(trailers(c, "Maestro-Requirement") for c in work), [[r] for r in REQUIREMENTS])
for commit in work:
    (requirement,) = trailers(commit, "Maestro-Requirement")
    same("task of a commit", trailers(commit, "Maestro-Task"), [of[requirement]])
    expected = ["2"] if requirement == "FR-3" else ["1"]
    same("attempt of a commit", trailers(commit, "Maestro-Attempt"), expected)
    files = git("diff-tree", "-r", "--name-only", "--no-commit-id", commit).split()
    own_test = f"tests/test_{requirement.lower().replace('-', '')}.py"
    same("files of a commit", (len(files), own_test in files), (2, True))
order = [trailers(c, "Maestro-Requirement")[0] for c in work]
same("order", all(order.index(n) < order.index(r) for r in wanted for n in wanted[r]), True)
same("sessions of the commits", {tuple(trailers(c, "Maestro-Session")) for c in commits}, {(session,)})
same("task of the last commit", trailers(last, "Maestro-Task"), [])
same("files of the last commit", git("diff-tree", "-r", "--name-only", "--no-commit-id", last), "docs/prd.md")
status = [line.strip() for line in git("show", f"{branch}:docs/prd.md").splitlines() if line.startswith("  status:")]
same("status of the PRD", status, ["status: implemented"])

# Checkpoints: tags 1, 2, …; the branch stands at the last.
tags = sorted(git("tag", "--list", f"maestro/{session}/*").split(), key=lambda t: int(t.rsplit("/", 1)[1]))
same("tags", tags, [f"maestro/{session}/{n}" for n in range(1, len(tags) + 1)])
same("there are tags", bool(tags), True)
same("the last tag", git("rev-parse", f"{tags[-1]}^{{commit}}"), last)
same("all tags", git("tag").split(), sorted(tags))

# Tests: what the run counted is what everybody else counts.
before, after, new = counted("base.xml"), counted("final.xml"), counted("new.xml")
same("tests after", after, before + new)
(gate,) = [g for g in report["gates"] if g["name"] == "test"]
same("gate", (gate["status"], gate["counts"]["passed"], sum(gate["counts"].values())), ("passed", after, after))
suites = {s.get("name"): s for s in xml.parse(out / "junit.xml").getroot().findall("testsuite")}
count = lambda suite: tuple(int(suites[suite].get(k)) for k in ("tests", "failures", "errors", "skipped"))
same("JUnit of the gate", count("gate:test"), (after, 0, 0, 0))
same("JUnit of the tasks", count("tasks"), (5, 0, 0, 0))
same("JUnit of the requirements", count("requirements"), (5, 0, 0, 0))
same("reruns", len(suites["tasks"].findall(".//flakyFailure")), 1)
markdown = (out / "report.md").read_text()
same("Markdown names every requirement", [r for r in REQUIREMENTS if r not in markdown], [])

rows = {
    "duration": f"{budget['duration']['used_ms'] / 1000:.1f} s",
    "tasks": len(report["tasks"]),
    "attempts": sum(map(len, attempts.values())),
    "tests before": before,
    "new tests": new,
    "tests after": after,
    "commits": len(commits),
    "checkpoints": len(tags),
    "tokens": budget["tokens"]["used"],
    "isolation": report["isolation"]["level"],
}
print("humanize 4.12.3, five requirements")
for name, value in rows.items():
    print(f"  {name:<13}{value}")
PY
