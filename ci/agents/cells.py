"""The scenarios: what the model server does, what maestro-ci is told, and how each agent's run has to end.

A run's state is that of its attempts, in order: `completed`, or the reason of the fault that ended one.
"""
import json
import signal
import time
from dataclasses import dataclass, field

from world import World

# One attempt, so that a fault's own state is what is seen.
ONCE = ("--set", "error_recovery.max_retry_attempts=0")
# Seconds that the end of an attempt may take after its time limit: the default grace, and some for a busy machine.
GRACE = 10
# Seconds until the survivors of a killed maestro-ci have to be gone.
AFTER_KILL = 10


@dataclass(frozen=True)
class Scenario:
    """One column of the table."""

    name: str
    title: str
    # What the model server plays.
    plays: str
    # State and exit code by agent; the entry "" is everybody else's.
    expected: dict
    flags: tuple = ONCE
    # What is done to maestro-ci once a model call is under way.
    signal: int = 0
    # A limit that the server's own count has to stay within: requests or tokens.
    most: dict = field(default_factory=dict)
    # The time limit of an attempt, seconds.
    lasts: int = 0

    def expects(self, agent):
        return self.expected.get(agent.name, self.expected[""])

    def flags_for(self, agent):
        return [flag.format(max_cost=agent.max_cost) for flag in self.flags]


SCENARIOS = (
    Scenario("success", "success", "ok", {"": ("completed", 0)}),
    Scenario("429x2", "429 twice", "429x2", {"": ("completed", 0)}, flags=()),
    Scenario("401", "401", "401", {"": ("auth", 7)}),
    Scenario("stall", "stalled stream", "stall+whole", {"": ("rate", 7)},
             flags=(*ONCE, "--set", "gateway.stall_seconds=3")),
    Scenario("idle", "stalled stream, silence limit", "stall+whole", {"": ("idle", 1)},
             flags=(*ONCE, "--set", "resource_limits.idle_seconds=5")),
    Scenario("cut", "cut stream", "cut+whole", {"": ("cut", 7)}),
    Scenario("max-api-calls", "endless loop, max_api_calls", "loop", {"": ("call_refused", 5)},
             flags=(*ONCE, "--max-api-calls", "4"), most={"requests": 4}),
    Scenario("max-tokens", "endless loop, max_tokens", "loop", {"": ("call_refused", 5)},
             flags=(*ONCE, "--max-tokens", "100k"), most={"tokens": 100_000}),
    Scenario("max-cost", "endless loop, max_cost", "loop", {"": ("call_refused", 5)},
             flags=(*ONCE, "--max-cost", "{max_cost}")),
    Scenario("max-duration", "endless loop, max_duration", "loop", {"": ("stopped", 5)},
             flags=(*ONCE, "--max-duration", "15s"), lasts=15),
    Scenario("hang-tool", "tool hangs", "hang_tool", {"": ("timeout", 1)},
             flags=(*ONCE, "--set", "resource_limits.task.max_duration_seconds=25"), lasts=25),
    Scenario("sigterm", "SIGTERM, then resume", "slow-300", {"": ("stopped, completed", 0)}, signal=signal.SIGTERM),
    Scenario("kill-9", "kill −9, then resume", "slow-300", {"": ("lost, completed", 0)}, signal=signal.SIGKILL),
)


@dataclass
class Cell:
    """What came of one run."""

    state: str = ""
    code: int | None = None
    problems: list = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    tokens: int = 0
    estimated: int = 0
    # Tokens that the report lacks, or has beyond what it marks as estimated.
    error: int = 0

    def text(self):
        return f"{self.state} · {self.code}" + (" ✗" if self.problems else "")


def urls(server, scenario, run):
    """The variables that send an agent's calls through the gateway to one run of the server."""
    base = server.url(scenario, run)
    return {"ANTHROPIC_BASE_URL": base, "OPENAI_BASE_URL": f"{base}/v1", "GOOGLE_GEMINI_BASE_URL": base}


def play(options, server, agent, scenario):
    """Runs one cell and looks at everything that has to hold after it."""
    started = time.monotonic()
    run = f"{agent.name}-{scenario.name}"
    world = World(options.runs / run, options)
    way = {**urls(server, scenario.plays, run), **agent.env}
    cell = Cell()
    world.start(["--prd", "prd.md", *agent.flags(), *scenario.flags_for(agent)], way)
    if scenario.signal:
        interrupt(cell, world, server, scenario, run)
        world.start(["resume"], way)
    cell.code = world.wait()
    report = settle(cell, world, server.count(scenario.plays, run))
    wanted = scenario.expects(agent)
    if (cell.state, cell.code) != wanted:
        cell.problems.append(f"ended as {cell.state} · {cell.code} instead of {wanted[0]} · {wanted[1]}")
    if world.has_file() != (wanted[1] == 0):
        cell.problems.append("the file is not on the branch" if wanted[1] == 0 else "a file is on the branch")
    cell.problems += limits(scenario, report, server.count(scenario.plays, run))
    cell.seconds = time.monotonic() - started
    return cell


def limits(scenario, report, count):
    """By the server's own count and by the report, no limit was passed; and a loop did loop."""
    for what, most in scenario.most.items():
        if getattr(count, what) > most:
            yield f"the server counted {getattr(count, what)} {what}, the limit was {most}"
    if scenario.plays == "loop" and count.requests < 2:
        yield f"the loop ended after {count.requests} requests"
    for attempt in attempts(report):
        if scenario.lasts and attempt["duration_ms"] > 1000 * (scenario.lasts + GRACE):
            yield f"an attempt took {attempt['duration_ms']} ms, the limit was {scenario.lasts} s"
    cost = report.get("budget", {}).get("cost_microusd", {})
    if cost.get("limit") is not None and cost["used"] > cost["limit"]:
        yield f"{cost['used']} millionths of a dollar were used, the limit was {cost['limit']}"


def interrupt(cell, world, server, scenario, run):
    """Waits for a model call, sends the signal, and looks at what is left of the run."""
    until = time.monotonic() + 60
    while server.count(scenario.plays, run).requests == 0 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    if world.process.poll() is not None:
        cell.problems.append("the run ended before the signal")
        return
    world.process.send_signal(scenario.signal)
    code = world.wait()
    wanted = {signal.SIGTERM: 143, signal.SIGKILL: -9}[scenario.signal]
    if code != wanted:
        cell.problems.append(f"after the signal: exit code {code} instead of {wanted}")
    left = world.survivors(AFTER_KILL if scenario.signal == signal.SIGKILL else 0)
    if left:
        cell.problems.append(f"survivors of the signal: {left}")


def settle(cell, world, count):
    """State, survivors, leftovers, and the account. Returns the report."""
    if cell.code is None:
        cell.problems.append("the run hung and was killed")
    left = world.survivors(AFTER_KILL if cell.code is None else 0)
    if left:
        cell.problems.append(f"survivors: {left}")
    if world.leftovers():
        cell.problems.append(f"workspaces are left: {world.leftovers()}")
    report = world.report()
    cell.state = ", ".join(state(attempt) for attempt in attempts(report))
    if report.get("exit_code") != cell.code:
        cell.problems.append(f"the report says exit code {report.get('exit_code')}")
    budget = report.get("budget", {})
    cell.problems += account(cell, budget, count)
    written = world.out / "report.json"
    if written.exists() and json.loads(written.read_text()) != report:
        cell.problems.append("--json and the journal's report differ")
    return report


def attempts(report):
    return [attempt for task in report.get("tasks", []) for attempt in task["attempts"]]


def state(attempt):
    """How an attempt ended, in a word."""
    if attempt["fault"]:
        return attempt["fault"]["reason"]
    terminal = (attempt["terminal"] or {}).get("state", "no stream")
    return terminal if attempt["outcome"] == "integrated" else f"{terminal} ({attempt['outcome']})"


def account(cell, budget, count):
    """Nothing is missing and nothing is made up. What no answer told counts at its worst, and is said to be that."""
    used = budget.get("tokens", {}).get("used", 0)
    cell.calls, cell.tokens, cell.estimated = count.requests, count.tokens, budget.get("estimated_tokens", 0)
    calls = budget.get("api_calls", {}).get("used", 0)
    if budget.get("source") != "gateway":
        yield f"usage comes from {budget.get('source')}"
    cell.error = off_by(used, cell.estimated, count.tokens)
    if cell.error:
        yield f"{used} tokens ({cell.estimated} of them estimated), the server billed {count.tokens}"
    if cell.estimated == 0 and calls != count.requests or calls < count.requests:
        yield f"{calls} calls, the server had {count.requests} requests"


def off_by(used, estimated, billed):
    """Tokens that a report lacks, or has beyond those that it marks as estimated."""
    return max(used - estimated - billed, 0) + max(billed - used, 0)
