"""The runs: what each one is made of, what is done to it, and what its reports have to say afterwards.

Every number here is known beforehand, from what the run was made of; none is read off a report."""
import dataclasses
import typing

import hostile
import world

AGENT = r"""
echo '{"usage":{"input_tokens":900,"output_tokens":100,"api_calls":1,"cost_usd":0.01}}'
if [ "$MAESTRO_TASK.$MAESTRO_ATTEMPT" = "$STUMBLES.1" ]; then echo "the first way does not work" >&2; exit 1; fi
sleep $PAUSE
echo "by $MAESTRO_TASK" > "$MAESTRO_TASK.txt"
"""
# Ignores what it is asked for, as do its children.
DEAF = "trap '' INT TERM HUP\necho '{\"usage\":{\"input_tokens\":90,\"output_tokens\":10,\"api_calls\":1}}'\n" \
       "setsid sleep 300 &\nwhile :; do sleep 0.1; done"
TESTS = '''"""A test runner: one case for each outcome that it is called with, as JUnit, and the exit code to it."""
import sys
import xml.etree.ElementTree as xml

outcomes = sys.argv[1:]
if outcomes[0].isdigit():
    outcomes = ["passed"] * int(outcomes[0])
suite = xml.Element("testsuite", name="unit")
for n, outcome in enumerate(outcomes, 1):
    case = xml.SubElement(suite, "testcase", classname="unit.test_module", name=f"test_{n}", time="0.01", file="tests.py",
                          line=str(n))
    if outcome == "failed":
        xml.SubElement(case, "failure", message="expected 1, got 2").text = "tests.py:3\\nexpected 1, got 2"
    if outcome == "skipped":
        xml.SubElement(case, "skipped", message="not here")
xml.ElementTree(suite).write("report.xml", encoding="utf-8", xml_declaration=True)
sys.exit("failed" in outcomes)
'''


@dataclasses.dataclass
class Scenario:
    """A run. What its reports must say is in `tasks` (done, all), `requirements` (met, unmet, unverified), `gates`
    (green, not green), `tests` (passed, failed, skipped), `tokens` used, and `flaky` (attempts that failed before a task
    was done); None where the moment of a signal decides it."""
    name: str
    title: str
    files: dict
    args: list
    exit_code: int
    tasks: tuple = None
    requirements: tuple = None
    gates: tuple = None
    tests: tuple = None
    tokens: int = None
    flaky: int = None
    act: typing.Callable = None
    limit: int = 120


def prd(requirements, title="PRD: feature"):
    lines = ["---", "prd:", "  feature_name: feature", "  status: approved", "---", "", f"# {title}", "",
             "## Requirements", "", "| ID | Requirement | Priority |", "|---|---|---|"]
    lines += [f"| FR-{n} | {text} | P1 |" for n, text in enumerate(requirements, 1)]
    return "\n".join(lines) + "\n"


def gates(**commands):
    """A configuration with these gates: the first one is the test gate with a JUnit report."""
    lines = ["error_recovery: {max_retry_attempts: 1}", "validation:", "  gates:"]
    for n, (name, (command, more)) in enumerate(commands.items()):
        kind = "kind: test, report: report.xml" if n == 0 else "kind: custom"
        lines.append(f"    {name}: {{{kind}, run: '{command}', {more}}}")
    return "\n".join(lines) + "\n"


def agent(stumbles="none", pause="0", jobs=2):
    return ["--agent-cmd", f"STUMBLES={stumbles} PAUSE={pause}; {AGENT}", f"-j{jobs}"]


WORDS = ["write the first file", "write the second file", "write the third file", "write the fourth file"]
GREEN = ("python3 tools/tests.py passed passed passed", "requirements: [FR-1, FR-2, FR-3]")


def files(config, requirements=tuple(WORDS)):
    return {"prd.md": prd(requirements), ".flow/maestro/config.yaml": config, "tools/tests.py": TESTS}


def cancel(world_, process):
    world_.wait_for(process, "workspace_ready", 2)
    world.interrupt(process)


def all_scenarios(tasks):
    """All of them; the last one has so many tasks."""
    yield Scenario("passed", "all pass", files(gates(test=GREEN)), agent(stumbles="T-002"), 0, tasks=(4, 4),
                   requirements=(3, 0, 1), gates=(1, 0), tests=(3, 0, 0), tokens=5000, flaky=1)
    red = ("python3 tools/tests.py passed passed failed skipped", "requirements: [FR-1]")
    yield Scenario("gate", "failed gate", files(gates(test=red)), agent(), 1, tasks=(4, 4), requirements=(0, 1, 3),
                   gates=(0, 1), tests=(2, 1, 1), flaky=0)
    second = ("grep -q nothing T-002.txt", "required: false, requirements: [FR-2]")
    yield Scenario("requirement", "failed requirement", files(gates(test=("python3 tools/tests.py passed",
                   "requirements: [FR-1]"), second=second)), agent(), 1, tasks=(4, 4), requirements=(1, 1, 2),
                   gates=(1, 1), tests=(1, 0, 0), flaky=0)
    yield Scenario("budget", "budget stop", files(gates(test=GREEN)), [*agent(jobs=1), "--max-tokens", "2500"], 5,
                   flaky=0)
    yield Scenario("cancel", "cancel", files(gates(test=GREEN)), ["--agent-cmd", DEAF, "-j2"], 130, tasks=(0, 4),
                   act=cancel)
    # The repository has no remote.
    yield Scenario("undelivered", "not delivered", files(gates(test=GREEN)), [*agent(), "--push"], 8, tasks=(4, 4),
                   requirements=(3, 0, 1), gates=(1, 0), tests=(3, 0, 0), tokens=4000, flaky=0)
    yield Scenario("crash", "crash, resumed", files(gates(test=GREEN)), agent(pause="0.6"), 0, tasks=(4, 4),
                   requirements=(3, 0, 1), gates=(1, 0), tests=(3, 0, 0))
    yield hostile.scenario(Scenario)
    yield many(tasks)


def many(tasks):
    """Each task has a requirement of its own. Of 500 tasks one writes a file, one fails, the others have nothing to do."""
    # In few words: a PRD has at most 1 MiB.
    head = prd([f"number {n}" for n in range(1, tasks + 1)], f"PRD: {tasks} tasks") + "\n## Tasks\n"
    works = {n for n in range(1, tasks + 1) if n % 500 in (0, 250)}
    task = "\n### T-{0:05}: task {0}\n- Requirements: FR-{0}\n{1}"
    body = "".join(task.format(n, "" if n in works else "- No-op: yes\n") for n in range(1, tasks + 1))
    command = "case $MAESTRO_TASK in *000|*500) echo done > $MAESTRO_TASK.txt ;; *250|*750) exit 1 ;; esac"
    failing = sum(n % 500 == 250 for n in works)
    config = gates(test=(f"python3 tools/tests.py {tasks}", "")).replace("max_retry_attempts: 1", "max_retry_attempts: 0")
    args = ["--agent-cmd", command, "-j2", "--max-api-calls", str(10 * tasks), "--max-duration", "6h"]
    sources = {"prd.md": head + body, ".flow/maestro/config.yaml": config, "tools/tests.py": TESTS}
    return Scenario("many", f"{tasks:,} tasks", sources, args, 1 if failing else 0, tasks=(tasks - failing, tasks),
                    requirements=(0, failing, tasks - failing), gates=(1, 0), tests=(tasks, 0, 0), flaky=0, limit=3600)
