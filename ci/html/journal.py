"""A session of many tasks, written as its journal: what the HTML report is made of, without the hours that such a run
takes. Usage: journal.py REPOSITORY TASKS. Makes the repository and the session in it; each task has its attempts, its
patch on disk and its hash in the journal; every seventh fails once, every hundredth for good."""

import hashlib
import json
import subprocess
import sys
import zlib
from pathlib import Path

SESSION = "0190a0b0-0000-7000-8000-000000000000"
START_MS = 1_790_000_000_000
JOBS = 8
# Defaults of the tool where a key is left out are not known to a journal: all of them stand here.
SETTINGS = {
    "jobs": JOBS, "task_duration_ms": 1800000, "idle_ms": 600000, "grace_ms": 5000, "soft_ratio": 0.8,
    "budget": {"max_duration_ms": 36000000, "max_tokens": 500000000, "max_api_calls": 200000, "max_cost_microusd": 900000000},
    "task_budget": {}, "checkpoint_interval_ms": 0, "checkpoint_frequency": "phase_complete",
    "recovery": {"max_retry_attempts": 3, "backoff_multiplier": 2.0, "enable_rollback": True},
    "gates": [{"name": "test", "kind": "test", "run": "make test", "dir": ".", "timeout_ms": 600000, "required": True,
               "report": None, "requirements": ["FR-1"], "detected": False}],
    "fail_on_gate_violation": True, "require_gates": False, "validate_prd": True, "unverified": "warn", "allow": ["**"],
    "protect": [], "agent": "claude", "fallback": [], "agent_roles": {}, "startup_ms": 120000, "unknown_cost": "token_cap",
}


class Journal:
    def __init__(self, path):
        self.file, self.seq, self.elapsed_ms = open(path, "w"), 0, 0

    def add(self, kind, **event):
        self.seq += 1
        at = {"elapsed_ms": self.elapsed_ms, "wall_ms": START_MS + self.elapsed_ms}
        body = json.dumps({"seq": self.seq, "at": at, "event": {"type": kind, **event}}, separators=(",", ":"), ensure_ascii=False)[:-1]
        self.file.write(f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}\n')


def settings():
    """The settings of the tool's own golden journal, so that what is added there need not be added here."""
    golden = Path(__file__).resolve().parents[2] / "tests/golden/journal-v1.jsonl"
    with golden.open() as lines:
        return json.loads(next(lines))["event"]["settings"] | SETTINGS


def started(tasks):
    requirements = [{"id": f"FR-{n}", "text": f"The part number {n} does its work", "priority": "P1", "criteria": 1, "line": 10 + n} for n in range(1, tasks + 1)]
    return {
        "version": 1, "tool_version": "0.1.0", "session": SESSION,
        "prd": {"path": "docs/prd.md", "sha256": "a" * 64, "title": f"A plan of {tasks} tasks", "feature": "large",
                "requirements": requirements, "warnings": []},
        "base": "b" * 40, "base_branch": "main", "branch": "maestro/large", "branch_was": None, "work_dir": "/tmp/large",
        "fingerprint": "c" * 64, "isolation": "L1", "settings": settings(), "agent_command": None, "notes": [],
    }


def plan(tasks):
    epics = [{"id": f"E-{n + 1}", "title": f"Part {n + 1} of the work", "priority": "P1"} for n in range(max(1, tasks // 250))]
    def task(n):
        needs = [f"T-{n - 250:05}"] if n > 250 else []
        return {"id": f"T-{n:05}", "title": f"Make the part number {n} do its work & say <so>", "epic": epics[(n - 1) % len(epics)]["id"],
                "description": "", "requirements": [f"FR-{n}"], "acceptance": [], "depends_on": needs,
                "reasons": {need: "it builds on it" for need in needs}, "role": "general-purpose", "owns": [], "priority": "P1",
                "no_op": False, "steps": None, "line": 100 + n}
    return {"epics": epics, "tasks": [task(n) for n in range(1, tasks + 1)], "fingerprint": "d" * 64}


def attempt(journal, session, name, n, number, fails):
    usage = {"input_tokens": 9000 + number % 700, "output_tokens": 400, "api_calls": 4, "cost_microusd": 33000, "source": "gateway"}
    strategy = "first" if n == 1 else "alternative"
    journal.add("attempt_started", task=name, attempt=n, strategy=strategy, onto="b" * 40, agent="claude",
                reserved={"tokens": 20000, "api_calls": 10, "cost_microusd": 100000})
    journal.add("workspace_ready", task=name, attempt=n, limit_ms=1800000)
    journal.add("usage_reported", task=name, attempt=n, usage=usage)
    yield
    report = {"ended": {"how": "exited", "code": 1 if fails else 0}, "duration_ms": 8000, "usage": usage, "leaked_processes": 0,
              "stdout_bytes": 100, "stderr_tail": f"made part {number}\nchecked it\n"}
    journal.add("agent_ended", task=name, attempt=n, report=report)
    path = session / "tasks" / name / f"attempt-{n}"
    path.mkdir(parents=True)
    patch = f"diff --git a/src/{name}.py b/src/{name}.py\n--- a/src/{name}.py\n+++ b/src/{name}.py\n@@ -1 +1,3 @@\n-old\n+def part():\n+    return {number}\n same\n"
    (path / "changes.patch").write_text(patch)
    capture = {"commit": f"{number:040x}", "files": [{"path": f"src/{name}.py", "status": "M", "added": 2, "removed": 1}],
               "file_count": 1, "changed_lines": 3, "rejected": None, "violation": None,
               "patch_sha256": hashlib.sha256(patch.encode()).hexdigest()}
    journal.add("captured", task=name, attempt=n, capture=capture)


def work(journal, session, name, number):
    """One task as steps, between which others have their turn."""
    lost = number % 100 == 0
    stumbles = number % 7 == 0 or lost
    for n in range(1, 4 if lost else 3 if stumbles else 2):
        fails = lost or (stumbles and n == 1)
        yield from attempt(journal, session, name, n, number, fails)
        if fails:
            fault = {"class": "implementation", "reason": "exit", "message": "the agent ended with exit status 1; its last words: \"made part\""}
            journal.add("attempt_failed", task=name, attempt=n, fault=fault)
            if n < (3 if lost else 2):
                journal.add("retry_scheduled", task=name, not_before_ms=journal.elapsed_ms, strategy="alternative")
    if lost:
        journal.add("task_settled", task=name, status="failed", reason="3 attempts failed")
        return False
    journal.add("integration_started", task=name, attempt=n, tip="b" * 40)
    journal.add("merged", task=name, attempt=n, merge={"result": "integrated", "commit": f"{number:040x}"})
    journal.add("task_settled", task=name, status="done", reason=None)
    return True


def implementation(journal, session, tasks):
    waiting, failed, running = list(range(1, tasks + 1)), set(), []
    done = set()
    while waiting or running:
        for number in [n for n in waiting[: JOBS * 4]]:
            if len(running) == JOBS:
                break
            need = number - 250
            if need in failed:
                journal.add("task_settled", task=f"T-{number:05}", status="blocked", reason=f"T-{need:05} failed")
                failed.add(number)
                waiting.remove(number)
            elif need < 1 or need in done:
                running.append((number, work(journal, session, f"T-{number:05}", number)))
                waiting.remove(number)
        for item in list(running):
            journal.elapsed_ms += 900
            try:
                next(item[1])
            except StopIteration as end:
                (done if end.value else failed).add(item[0])
                running.remove(item)


def main():
    repo, tasks = Path(sys.argv[1]), int(sys.argv[2])
    session = repo / ".flow/maestro/sessions" / SESSION
    session.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repo)], check=True)
    journal = Journal(session / "journal.jsonl")
    journal.add("session_started", **started(tasks))
    journal.add("phase_started", phase="planning")
    journal.add("phase_started", phase="task_generation")
    journal.add("planned", plan=plan(tasks))
    journal.add("phase_started", phase="implementation")
    journal.add("setup_started")
    journal.add("setup_done")
    implementation(journal, session, tasks)
    journal.add("phase_started", phase="validation")
    journal.add("round_started", round=1, purpose="final", commit=f"{1:040x}", gates=["test"])
    journal.add("gate_started", round=1, gate="test", limit_ms=600000)
    journal.elapsed_ms += 60000
    result = {"status": "passed", "ended": {"how": "exited", "code": 0}, "duration_ms": 60000, "summary": "9000 passed",
              "cases": [], "counts": {"passed": 9000}, "log_tail": "all green\n"}
    journal.add("gate_ended", round=1, gate="test", result=result)
    journal.add("phase_started", phase="handoff")
    journal.add("session_finished", verdict="failed", reason="some tasks failed")
    journal.file.close()


main()
