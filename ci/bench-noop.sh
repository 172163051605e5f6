#!/usr/bin/env bash
# What orchestration costs: no-op tasks through the real binary, journal and all, against a bare loop that starts
# the same processes per task, two at a time. Ours and the loop take turns, three times; medians are printed.
#
# A no-op task starts four processes (`strace -f -e trace=execve` shows them): `cp -a` of the base tree, the warden
# (this binary again), `sh -c` with the agent's command, and `git add --all` on a private index.
#
# Usage: ci/bench-noop.sh [MAESTRO_CI_BINARY [TASKS]]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

binary=${1-}
if [ -z "$binary" ]; then
    binary=$root/target/release/maestro-ci
    [ -x "$binary" ] || (cd "$root" && cargo build --release --locked -j2)
fi
binary=$(realpath "$binary")
tasks=${2-1000}

export HOME=$tmp/home
mkdir "$HOME"

# The loop. Only its children count, so the interpreter costs it nothing.
cat > "$tmp/peer.py" <<'PY'
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

binary, repo, root, tasks = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
store, base, index = f"{root}/store.git", f"{root}/base", f"{root}/base.index"
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
GIT = {**os.environ, "GIT_DIR": store}

subprocess.run(["git", "clone", "--quiet", "--bare", "--shared", repo, store], **QUIET)
os.makedirs(base)
tree = {**GIT, "GIT_WORK_TREE": base, "GIT_INDEX_FILE": index}
subprocess.run(["git", "read-tree", "HEAD"], env=tree, **QUIET)
subprocess.run(["git", "checkout-index", "--all", "--force", "--quiet"], env=tree, cwd=base, **QUIET)
subprocess.run(["git", "update-index", "-q", "--refresh"], env=tree, cwd=base, **QUIET)


def task(n):
    copy, own = f"{root}/{n}", f"{root}/{n}.index"
    subprocess.run(["cp", "-a", "--reflink=auto", "--", base, copy], **QUIET)
    shutil.copyfile(index, own)
    subprocess.run([binary, "--version"], **QUIET)
    subprocess.run(["sh", "-c", "true"], cwd=copy, **QUIET)
    env = {**GIT, "GIT_WORK_TREE": copy, "GIT_INDEX_FILE": own}
    subprocess.run(["git", "add", "--all", "--verbose", "--", "."], env=env, cwd=copy, **QUIET)
    shutil.rmtree(copy)
    os.remove(own)


before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
with ThreadPoolExecutor(2) as pool:
    list(pool.map(task, range(tasks)))
after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu, "wall": wall}))
PY

python3 - "$binary" "$tmp" "$tasks" <<'PY'
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

binary, tmp, tasks = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
ROUNDS = 3


def make_repo(repo):
    repo.mkdir()
    head = "---\nprd:\n  feature_name: noop\n  status: approved\n---\n\n# PRD: noop\n\n## Requirements\n\n"
    table = "| ID | Requirement | Priority |\n|---|---|---|\n| FR-1 | Nothing changes | P2 |\n\n## Tasks\n"
    task = "\n### T-{:04}: nothing to do\n- Requirements: FR-1\n- No-op: yes\n"
    (repo / "prd.md").write_text(head + table + "".join(task.format(n) for n in range(1, tasks + 1)))
    identity = ["-c", "user.name=user", "-c", "user.email=user@localhost"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "A PRD"]):
        subprocess.run(["git", *args], cwd=repo, check=True)


def peak_of(pid):
    """The high-water mark of this process alone: rusage would take in its children, and us before the exec."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def ours(n):
    repo, work = tmp / f"repo-{n}", tmp / f"work-{n}"
    shutil.copytree(tmp / "repo", repo)
    # An agent that reports nothing counts as one call; the budgets must not end the run.
    command = [binary, "--prd", "prd.md", "--agent-cmd", "true", "-j2"]
    command += ["--work-dir", str(work), "--max-api-calls", str(10 * tasks), "--max-duration", "6h"]
    before, started, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    with open(tmp / "log", "w") as log:
        process = subprocess.Popen(command, cwd=repo, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.005)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"bench-noop: exit code {process.returncode}\n" + (tmp / "log").read_text()[-2000:])
    (session,) = [p.parent for p in (repo / ".flow/maestro/sessions").glob("*/report.json")]
    standings = [t["status"] for t in json.loads((session / "report.json").read_text())["tasks"]]
    if standings != ["no_op"] * tasks:
        sys.exit(f"bench-noop: not every task was done as a no-op: {set(standings)}, {len(standings)} tasks")
    journal = session / "journal.jsonl"
    records = sum(1 for _ in journal.open("rb"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": wall, "peak": peak / 1024, "journal": journal.stat().st_size, "records": records}


def peer(n):
    command = [sys.executable, tmp / "peer.py", binary, tmp / "repo", tmp / f"peer-{n}", str(tasks)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


make_repo(tmp / "repo")
mine, theirs = [], []
for n in range(ROUNDS):
    mine.append(ours(n))
    theirs.append(peer(n))
    print(f"round {n + 1}: CPU {mine[-1]['cpu']:.2f} s, the loop {theirs[-1]['cpu']:.2f} s", file=sys.stderr)
median = lambda runs, key: statistics.median(r[key] for r in runs)
print(f"{tasks} no-op tasks, -j2, medians of {ROUNDS}")
for name, key in (("CPU (user + system)", "cpu"), ("wall", "wall")):
    a, b = median(mine, key), median(theirs, key)
    print(f"  {name:<21}{a:9.2f} s   bare loop {b:9.2f} s   ratio {a / b:.2f}")
print(f"  {'peak RSS':<21}{median(mine, 'peak'):9.1f} MiB (the orchestrator alone)")
print(f"  {'journal':<21}{median(mine, 'journal'):9.0f} bytes in {median(mine, 'records'):.0f} records")
PY
