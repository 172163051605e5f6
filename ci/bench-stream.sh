#!/usr/bin/env bash
# What it costs to read what agents print. Two parts: the memory of the warden while an agent writes 500 MB on one
# line, against a warden whose agent says nothing; and the CPU time and memory of the parsers, see benches/stream.rs.
#
# Usage: ci/bench-stream.sh [MAESTRO_CI_BINARY]
# With a binary only its warden is measured.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

given=${1-}
if [ -n "$given" ]; then
    binary=$(realpath "$given")
else
    (cd "$root" && cargo build --release --locked -j2)
    binary=$(realpath "$root/target/release/maestro-ci")
fi

own_home=${HOME-}
export HOME=$tmp/home
mkdir "$HOME"

# The agent. It stays a while, so that the last look at its warden comes after the last byte.
cat > "$tmp/agent.py" <<'PY'
import sys
import time

HEAD = {"nothing": b"", "text": b"", "json": b'{"type":"user","text":"', "lines": b""}
out = sys.stdout.buffer
kind, megabytes = sys.argv[1], int(sys.argv[2])
out.write(HEAD[kind])
if kind == "lines":
    # As long as a line may be that is passed on.
    line = b'{"type":"user","text":"' + b"x" * ((8 << 20) - 100) + b'"}\n'
    for _ in range(megabytes // 8):
        out.write(line)
elif kind != "nothing":
    for _ in range(megabytes):
        out.write(b"x" * 1_000_000)
out.flush()
open("done.txt", "w").close()
time.sleep(1)
PY

python3 - "$binary" "$tmp" <<'PY'
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

binary, tmp = sys.argv[1], pathlib.Path(sys.argv[2])
ROUNDS, MEGABYTES, ALLOWED = 3, 500, 16.0


def make_repo(repo):
    repo.mkdir()
    head = "---\nprd:\n  feature_name: flood\n  status: approved\n---\n\n# PRD: flood\n\n## Requirements\n\n"
    (repo / "prd.md").write_text(head + "| ID | Requirement | Priority |\n|---|---|---|\n| FR-1 | A file | P2 |\n")
    identity = ["-c", "user.name=user", "-c", "user.email=user@localhost"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "A PRD"]):
        subprocess.run(["git", *args], cwd=repo, check=True)


def peak_of(pid):
    """The high-water mark of a process in MiB."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def wardens_of(pid):
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            words = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == pid and len(words) > 1 and words[1] == b"__warden":
            yield int(stat.parent.name)


def peaks(kind, n):
    """The most that the warden and the orchestrator had, MiB, and the seconds that the agent took."""
    repo = tmp / f"repo-{kind}-{n}"
    shutil.copytree(tmp / "repo", repo)
    command = [binary, "--prd", "prd.md", "--agent-cmd", f"python3 {tmp}/agent.py {kind} {MEGABYTES}"]
    command += ["--allow-unsandboxed", "--work-dir", str(tmp / f"work-{kind}-{n}")]
    command += ["--set", "resource_limits.task.max_output_bytes=1000000000"]
    started, warden, orchestrator = time.monotonic(), 0, 0
    with open(tmp / "log", "w") as log:
        process = subprocess.Popen(command, cwd=repo, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None:
            warden = max([warden, *map(peak_of, wardens_of(process.pid))])
            orchestrator = max(orchestrator, peak_of(process.pid))
            time.sleep(0.02)
    if process.returncode or not warden:
        sys.exit(f"bench-stream: exit code {process.returncode}, {warden} MiB\n" + (tmp / "log").read_text()[-2000:])
    return warden, orchestrator, time.monotonic() - started


make_repo(tmp / "repo")
kinds = {
    "nothing": "an agent that says nothing",
    "text": f"{MEGABYTES} MB on one line",
    "json": f"{MEGABYTES} MB on one line that begins as JSON",
    "lines": f"{MEGABYTES} MB in lines of 8 MiB, all passed on",
}
seen = {kind: [] for kind in kinds}
for n in range(ROUNDS):
    for kind in kinds:
        seen[kind].append(peaks(kind, n))
median = lambda kind, place: statistics.median(run[place] for run in seen[kind])
baseline, holds = median("nothing", 0), True
print(f"peak RSS, medians of {ROUNDS}; the warden may take {ALLOWED:.0f} MiB over its baseline")
for kind, what in kinds.items():
    over = median(kind, 0) - baseline
    holds = holds and over <= ALLOWED
    verdict = "holds" if over <= ALLOWED else "TOO MUCH"
    rest = f"orchestrator {median(kind, 1):6.1f} MiB, {median(kind, 2):4.1f} s"
    print(f"  {what:<44} warden {median(kind, 0):6.1f} MiB ({over:+5.1f}: {verdict}), {rest}")
sys.exit(0 if holds else 1)
PY

[ -n "$given" ] || (cd "$root" && HOME=$own_home cargo bench --locked -j2 --bench stream)
