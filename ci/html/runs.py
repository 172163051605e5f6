"""Runs of the built binary, one for each state that the HTML report has to show well: passed with a recovery, a failed
gate, a stop at a limit, a cancel, and a crash. The agent is a script that speaks Claude Code's event stream and needs
no model; everything else is the real thing. Writes NAME.html for each into the output directory."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PRD = """---
prd:
  feature_name: session-tokens
  status: approved
priorities:
  requirements:
    - {id: FR-1, text: "A token carries an expiry and who it belongs to", priority: P0}
    - {id: FR-2, text: "An expired token is refused", priority: P0}
    - {id: FR-3, text: "A token can be refreshed once, for an hour more", priority: P1}
    - {id: FR-4, text: "A revoked token is refused everywhere at once", priority: P1}
    - {id: FR-5, text: "An audit line is written for every refusal", priority: P2}
    - {id: NFR-1, text: "The module says how it is used", priority: P3}
---

# PRD: Session tokens with refresh and revocation

## Tasks
"""
# Id, title, requirements, what it needs, seconds, file.
TASKS = [
    ("T-001", "Token with owner and expiry", "FR-1", [], 1.2, "tokens/model.py"),
    ("T-002", "Clock that tests can set", "FR-2", [], 0.8, "tokens/clock.py"),
    ("T-003", "Refuse expired tokens", "FR-2", ["T-001", "T-002"], 1.4, "tokens/check.py"),
    ("T-004", "Store of revoked tokens", "FR-4", ["T-001"], 1.6, "tokens/revoked.py"),
    ("T-005", "Refresh once, for an hour more", "FR-3", ["T-003"], 1.5, "tokens/refresh.py"),
    ("T-006", "Refuse revoked tokens", "FR-4", ["T-003", "T-004"], 1.0, "tokens/gate.py"),
    ("T-007", "Audit line for every refusal", "FR-5", ["T-006"], 1.1, "tokens/audit.py"),
    ("T-008", "Say how the module is used", "NFR-1", ["T-005", "T-007"], 0.7, "tokens/README.md"),
]
CONFIG = """
agents:
  writer: {{protocol: claude, command: "{agent}", model: claude-sonnet-4-5}}
agent: {{default: writer}}
gateway: {{enabled: false}}
orchestrator: {{checkpoint_frequency: group}}
error_recovery: {{backoff_multiplier: 1}}
validation:
  gates:
    test: {{kind: test, run: "python3 tests/run.py", report: junit.xml, requirements: [FR-1, FR-2, FR-3, FR-4, FR-5]}}
    style: {{kind: lint, run: "! grep -rn 'TODO' tokens", required: true}}
    docs: {{kind: custom, run: "test -s tokens/README.md", requirements: [NFR-1]}}
"""
AGENT = '''#!/usr/bin/python3
"""Speaks the event stream of Claude Code: says what it does, reports what it used, writes one file."""
import json, os, sys, time

TASKS, MODE = @TASKS@, @MODE@
prompt = "" if "--version" in sys.argv else sys.stdin.read()
if not prompt:
    print("2.1.329 (Claude Code)")
    sys.exit(0)
task = next(t for t in TASKS if t[0] == os.environ["MAESTRO_TASK"])
name, title, requirement, needs, seconds, path = task
again = "WHAT FAILED BEFORE" in prompt

def say(event):
    print(json.dumps(event), flush=True)

say({"type": "system", "subtype": "init", "cwd": ".", "session_id": name, "tools": ["Bash", "Write"], "model": "claude-sonnet-4-5"})
turns, used = 5, {"input_tokens": 0, "output_tokens": 0}
for turn in range(turns):
    time.sleep(seconds / turns * (4 if MODE == "slow" else 1))
    usage = {"input_tokens": 2100 + 640 * turn, "output_tokens": 180 + 35 * turn}
    for kind in used:
        used[kind] += usage[kind]
    block = {"type": "tool_use", "id": f"{name}-{turn}", "name": "Write", "input": {}} if turn == turns - 2 else {"type": "text", "text": title}
    say({"type": "assistant", "message": {"id": f"{name}-{turn}", "role": "assistant", "model": "claude-sonnet-4-5", "content": [block], "usage": usage}})
if name == "T-005" and not again and MODE != "slow":
    sys.stderr.write("reading tokens/check.py\\nTraceback (most recent call last):\\n  File \\"tokens/refresh.py\\", line 12, in refresh\\nNameError: name 'hour' is not defined\\n")
    say({"type": "result", "subtype": "error_during_execution", "is_error": True, "result": "the tests do not start", "usage": used, "total_cost_usd": 0.0531, "session_id": name})
    sys.exit(1)
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "w") as file:
    if path.endswith(".md"):
        file.write("# tokens\\n\\nIssue with `model`, ask with `check`, refresh with `refresh`, revoke with `revoked`.\\n")
    else:
        note = "    # TODO: who reads this?\\n" if MODE == "wrong" and name == "T-007" else ""
        answer = "False" if MODE == "wrong" and name == "T-006" else "True"
        file.write(f'"""{title} ({requirement})."""\\n\\n\\ndef ready():\\n{note}    """Whether this part does its work."""\\n    return {answer}\\n')
sys.stderr.write(f"wrote {path}\\n1 file changed\\n")
say({"type": "result", "subtype": "success", "is_error": False, "result": "done", "num_turns": turns, "usage": used, "total_cost_usd": round((used["input_tokens"] * 3 + used["output_tokens"] * 15) / 1e6, 6), "session_id": name})
'''
TESTS = '''import importlib, os, sys
from xml.sax.saxutils import quoteattr
sys.path.insert(0, os.getcwd())
cases, red = [], 0
for part in ["model", "clock", "check", "revoked", "refresh", "gate", "audit"]:
    try:
        ok, why = importlib.import_module("tokens." + part).ready(), f"tokens/{part}.py: ready() is False, and True was expected"
    except Exception as error:
        ok, why = False, f"{type(error).__name__}: {error}"
    red += not ok
    print(("ok   " if ok else "FAIL ") + part + ("" if ok else ": " + why))
    failure = "" if ok else f"<failure message={quoteattr(why)}/>"
    cases.append(f"<testcase classname='tokens' name={quoteattr(part + ' is ready')} time='0.01' file='tokens/{part}.py' line='4'>{failure}</testcase>")
with open("junit.xml", "w") as file:
    file.write(f"<testsuites><testsuite name='tokens' tests='{len(cases)}' failures='{red}'>{''.join(cases)}</testsuite></testsuites>")
sys.exit(1 if red else 0)
'''
# Name, the agent's mode, more flags, the signal with when it is sent, the exit code.
STATES = [
    ("passed", "fine", [], None, 0),
    ("failed", "wrong", [], None, 1),
    ("budget", "fine", ["--max-tokens", "95k"], None, 5),
    ("cancelled", "slow", [], (signal.SIGINT, 14), 130),
    ("crashed", "slow", [], (signal.SIGKILL, 14), -9),
]


def git(repo, *args):
    identity = ["-c", "user.name=html", "-c", "user.email=html@localhost"]
    subprocess.run(["git", "-C", str(repo), *identity, *args], check=True, capture_output=True)


def make_repository(repo, mode):
    """A repository with tests, an approved PRD and an agent beside it."""
    agent = repo.with_name(repo.name + "-agent.py")
    agent.write_text(AGENT.replace("@TASKS@", repr(TASKS)).replace("@MODE@", repr(mode)))
    agent.chmod(0o755)
    prd = PRD
    for name, title, requirement, needs, _, path in TASKS:
        needed = f"- Depends on: {', '.join(needs)}\n" if needs else ""
        prd += f"\n### {name}: {title}\n- Requirements: {requirement}\n{needed}- Owns: {path}\n\n{title}.\n"
    files = {
        "docs/prd.md": prd,
        ".flow/maestro/config.yaml": CONFIG.format(agent=agent),
        "tests/run.py": TESTS,
        "tokens/__init__.py": "",
        ".gitignore": "junit.xml\n__pycache__/\n",
    }
    for path, text in files.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text)
    git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "tests and an approved PRD")


def run(maestro, tmp, out, state):
    name, mode, flags, sent, expected = state
    repo = tmp / name
    repo.mkdir()
    make_repository(repo, mode)
    page = out / f"{name}.html"
    command = [maestro, "run", "--repo", repo, "--prd", repo / "docs/prd.md", "--jobs", "2", "--work-dir", tmp / f"{name}.work"]
    command += ["--html", page, *flags]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp), "ANTHROPIC_API_KEY": "none", "LANG": "C.UTF-8"}
    with open(tmp / f"{name}.log", "w") as log:
        process = subprocess.Popen(list(map(str, command)), env=env, stdout=log, stderr=log)
        if sent:
            time.sleep(sent[1])
            process.send_signal(sent[0])
        code = process.wait(timeout=300)
    if code != expected:
        print((tmp / f"{name}.log").read_text(), file=sys.stderr)
        sys.exit(f"html: the run `{name}` ended with {code} instead of {expected}")
    if sent and sent[0] == signal.SIGKILL:
        # Its process wrote no last page: the page is made of the journal, as a later job would make it.
        made = subprocess.run([maestro, "report", "--repo", repo, "--format", "html"], env=env, check=True, capture_output=True)
        page.write_bytes(made.stdout)
    print(f"   {name}: exit {code}, {page.stat().st_size // 1000} kB", file=sys.stderr)


def main():
    maestro, tmp, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for state in STATES:
        shutil.rmtree(tmp / state[0], ignore_errors=True)
        run(maestro, tmp, out, state)


main()
