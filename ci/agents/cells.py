"""The scenarios: what the model server does, what maestro-ci is told, and how each agent's run has to end.

A run's state is that of its attempts, in order: `completed`, or the reason of the fault that ended one. Its streams' are
the terminal states of the agents' own event streams.
"""
import json
import signal
import time
from dataclasses import dataclass, field

import hostile
from world import World

# One attempt, so that a fault's own state is what is seen.
ONCE = ("--set", "error_recovery.max_retry_attempts=0")
# Seconds that the end of an attempt may take after its time limit: the default grace, and some for a busy machine.
GRACE = 8
# Seconds until the survivors of a killed maestro-ci have to be gone, the grace of their wardens included.
AFTER_KILL = 2
# Millionths of a dollar that rounding may add to a call.
ROUNDING = 1

# Who may cut a call off, so that what it cost can only be estimated.
NOBODY, THE_API, WE = "nobody", "the API", "we"

# What a stream ends as where its agent is ended from outside. ACP agents answer the cancel.
ENDED = {"": "no_terminal_event", "acp": "failed"}


@dataclass(frozen=True)
class Scenario:
    """One column of the table."""

    name: str
    title: str
    # What the model server plays.
    plays: str
    # State and exit code by agent; the entry "" is everybody else's.
    expected: dict
    # What the attempts' streams end as, by agent in the same way; empty where that is a matter of the moment.
    streams: dict
    flags: tuple = ONCE
    # Who cuts calls off.
    cuts: str = NOBODY
    # What is done to maestro-ci once a model call is under way.
    signal: int = 0
    # A limit that the server's own count has to stay within: requests or tokens.
    most: dict = field(default_factory=dict)
    # The time limit of an attempt, seconds; and whether it is the whole run's.
    lasts: int = 0
    of_run: bool = False
    # The repository wants to run code of its own.
    is_hostile: bool = False

    def expects(self, agent):
        state, code = self.expected.get(agent.name, self.expected[""])
        return state, self.streams.get(agent.name, self.streams.get("")), code

    def flags_for(self, agent, world):
        return [flag.format(max_cost=agent.max_cost, canaries=world.canaries) for flag in self.flags]


def then_completed(streams):
    """The streams of a run that is ended in its first attempt and resumed."""
    return {agent: f"{first}, completed" for agent, first in streams.items()}


SCENARIOS = (
    Scenario("success", "success", "ok", {"": ("completed", 0)}, {"": "completed"}),
    Scenario("hostile", "hostile repository", "ok", {"": ("completed", 0)}, {"": "completed"},
             flags=(*ONCE, "--set", 'sandbox.write=["{canaries}"]'), is_hostile=True),
    Scenario("429x2", "429 twice", "429x2", {"": ("completed", 0)}, {"": "completed"}, flags=()),
    Scenario("401", "401", "401", {"": ("auth", 7)}, {"": "unavailable"}),
    # Claude, here also behind ACP, falls back to an answer that is not streamed, which comes and writes nothing.
    Scenario("stall", "stalled stream", "stall",
             {"": ("rate", 7), "claude": ("no_change", 1), "acp": ("no_change", 1)},
             {"": "failed", "claude": "completed", "acp": "completed"}, cuts=THE_API,
             flags=(*ONCE, "--set", "gateway.stall_seconds=3")),
    # An agent has to start within that time. Whether an ACP agent answers the cancel meanwhile is its affair.
    Scenario("idle", "stalled stream, silence limit", "stall+whole", {"": ("rate", 7)}, {**ENDED, "acp": ""}, cuts=WE,
             flags=(*ONCE, "--set", "resource_limits.idle_seconds=15")),
    Scenario("cut", "cut stream", "cut+whole", {"": ("cut", 7)}, {"": "failed"}, cuts=THE_API),
    Scenario("max-api-calls", "endless loop, max_api_calls", "loop", {"": ("call_refused", 5)}, {"": "limited"},
             flags=(*ONCE, "--max-api-calls", "4"), most={"requests": 4}),
    Scenario("max-tokens", "endless loop, max_tokens", "loop", {"": ("call_refused", 5)}, {"": "limited"},
             flags=(*ONCE, "--max-tokens", "100k"), most={"tokens": 100_000}),
    Scenario("max-cost", "endless loop, max_cost", "loop", {"": ("call_refused", 5)}, {"": "limited"},
             flags=(*ONCE, "--max-cost", "{max_cost}")),
    # Whether the agent hears of the end from the gateway or from a signal is a matter of the moment.
    Scenario("max-duration", "endless loop, max_duration", "loop", {"": ("stopped", 5)}, {}, cuts=WE,
             flags=(*ONCE, "--max-duration", "15s"), lasts=15, of_run=True),
    Scenario("hang-tool", "tool hangs", "hang_tool", {"": ("timeout", 5)}, ENDED,
             flags=(*ONCE, "--set", "resource_limits.task.max_duration_seconds=25"), lasts=25),
    Scenario("sigterm", "SIGTERM, then resume", "slow-300", {"": ("stopped, completed", 0)}, then_completed(ENDED),
             cuts=WE, signal=signal.SIGTERM),
    Scenario("kill-9", "kill −9, then resume", "slow-300", {"": ("lost, completed", 0)},
             then_completed({"": "none"}), cuts=WE, signal=signal.SIGKILL),
)


@dataclass
class Cell:
    """What came of one run."""

    state: str = ""
    streams: str = ""
    code: int | None = None
    problems: list = field(default_factory=list)
    seconds: float = 0.0
    # From kill −9 until no process was left.
    dying_seconds: float | None = None
    calls: int = 0
    tokens: int = 0
    estimated: int = 0
    # Tokens that the report lacks, or has beyond what it marks as estimated.
    error: int = 0

    def text(self):
        streams = "" if self.streams == self.state else f" ({self.streams})"
        return f"{self.state}{streams} · {self.code}" + (" ✗" if self.problems else "")


def urls(server, scenario, run):
    """The variables that send an agent's calls through the gateway to one run of the server."""
    base = server.url(scenario, run)
    return {"ANTHROPIC_BASE_URL": base, "OPENAI_BASE_URL": f"{base}/v1", "GOOGLE_GEMINI_BASE_URL": base}


def play(options, server, agent, scenario):
    """Runs one cell and looks at everything that has to hold after it."""
    run = f"{agent.name}-{scenario.name}"
    elsewhere = f"{run}-elsewhere"
    files = lambda canaries: hostile.files(canaries, server.url(scenario.plays, elsewhere))
    world = World(options.runs / run, options, files=files if scenario.is_hostile else None)
    way = {**urls(server, scenario.plays, run), **agent.env}
    cell, started = Cell(), time.monotonic()
    world.start(["--prd", "prd.md", *agent.flags(), *scenario.flags_for(agent, world)], way)
    if scenario.signal:
        interrupt(cell, world, server, scenario, run)
        world.start(["resume"], way)
    cell.code = world.wait()
    cell.seconds = time.monotonic() - started
    told = server.told(scenario.plays, run)
    report = settle(cell, world, scenario, told)
    judge(cell, world, scenario.expects(agent))
    cell.problems += limits(cell, scenario, report, told)
    cell.problems += cost(report, told, options.prices)
    if server.told(scenario.plays, elsewhere)["requests"] or world.canaries_left():
        cell.problems.append(f"code or settings of the repository were at work: {world.canaries_left() or 'calls'}")
    return cell


def judge(cell, world, wanted):
    """The end is the one that was expected, and the work is where it has to be."""
    state, streams, code = wanted
    if (cell.state, cell.code) != (state, code):
        cell.problems.append(f"ended as {cell.state} · {cell.code} instead of {state} · {code}")
    if streams and cell.streams != streams:
        cell.problems.append(f"the streams ended as {cell.streams} instead of {streams}")
    if world.has_file() != (code == 0):
        cell.problems.append("the file is not on the branch" if code == 0 else "a file is on the branch")


def limits(cell, scenario, report, told):
    """By the server's own count and by the clock, no limit was passed; and a loop did loop."""
    counted = {"requests": told["requests"], "tokens": told["input"] + told["output"]}
    for what, most in scenario.most.items():
        if counted[what] > most:
            yield f"the server counted {counted[what]} {what}, the limit was {most}"
    if scenario.plays == "loop" and told["requests"] < 2:
        yield f"the loop ended after {told['requests']} requests"
    for attempt in attempts(report):
        if scenario.lasts and attempt["duration_ms"] > 1000 * (scenario.lasts + GRACE):
            yield f"an attempt took {attempt['duration_ms']} ms, the limit was {scenario.lasts} s"
    if scenario.of_run and cell.seconds > scenario.lasts + GRACE:
        yield f"the run took {cell.seconds:.1f} s, the limit was {scenario.lasts} s"


def cost(report, told, prices):
    """What the server billed, priced by us, is what the report says, and within the limit."""
    billed = 0
    for model, own in told["models"].items():
        price = prices.get(model)
        if price is None:
            yield f"there is no price for {model}"
            return
        plain = own["input"] - own["cached"] - own["cache_write"]
        parts = ((plain, "input"), (own["cached"], "cached_input"), (own["cache_write"], "cache_write"),
                 (own["output"], "output"))
        billed += sum(tokens * price[kind] for tokens, kind in parts) / 1_000_000
    budget = report.get("budget", {})
    said, is_exact = budget.get("cost_microusd", {}), not budget.get("estimated_tokens")
    if is_exact and not billed - 1 <= said.get("used", -1) <= billed + 1 + ROUNDING * told["requests"]:
        yield f"the report says {said.get('used')} millionths of a dollar, the server's tokens cost {billed:.0f}"
    if said.get("limit") is not None and billed > said["limit"]:
        yield f"the server's tokens cost {billed:.0f} millionths of a dollar, the limit was {said['limit']}"


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
    if scenario.signal == signal.SIGKILL:
        cell.dying_seconds, left = world.deserted(AFTER_KILL)
        code = world.wait()
    else:
        code = world.wait()
        left = world.survivors()
    wanted = {signal.SIGTERM: 143, signal.SIGKILL: -9}[scenario.signal]
    if code != wanted:
        cell.problems.append(f"after the signal: exit code {code} instead of {wanted}")
    if left:
        cell.problems.append(f"survivors of the signal: {left}")


def settle(cell, world, scenario, told):
    """State, survivors, leftovers, and the account. Returns the report."""
    if cell.code is None:
        cell.problems.append("the run hung and was killed")
    _, left = world.deserted(AFTER_KILL if cell.code is None else 0)
    if left:
        cell.problems.append(f"survivors: {left}")
    if world.leftovers():
        cell.problems.append(f"workspaces are left: {world.leftovers()}")
    report = world.report()
    cell.state = ", ".join(state(attempt) for attempt in attempts(report))
    cell.streams = ", ".join(stream(attempt) for attempt in attempts(report))
    if report.get("exit_code") != cell.code:
        cell.problems.append(f"the report says exit code {report.get('exit_code')}")
    cell.problems += account(cell, scenario, report, told)
    written = world.out / "report.json"
    if written.exists() and json.loads(written.read_text()) != report:
        cell.problems.append("--json and the journal's report differ")
    return report


def attempts(report):
    return [attempt for task in report.get("tasks", []) for attempt in task["attempts"]]


def stream(attempt):
    """What the agent's event stream ended as."""
    return (attempt["terminal"] or {}).get("state", "none")


def state(attempt):
    """How an attempt ended, in a word."""
    if attempt["fault"]:
        return attempt["fault"]["reason"]
    return stream(attempt) if attempt["outcome"] == "integrated" else f"{stream(attempt)} ({attempt['outcome']})"


def account(cell, scenario, report, told):
    """Nothing is missing and nothing is made up: to the token where no call was cut off. What a call that was cut off
    took counts at its worst, and is said to be that."""
    budget = report.get("budget", {})
    used, calls = (budget.get(what, {}).get("used", 0) for what in ("tokens", "api_calls"))
    billed = told["input"] + told["output"]
    cell.calls, cell.tokens, cell.estimated = told["requests"], billed, budget.get("estimated_tokens", 0)
    if budget.get("source") != "gateway":
        yield f"usage comes from {budget.get('source')}"
    cell.error = off_by(used, cell.estimated, billed)
    if cell.error:
        yield f"{used} tokens ({cell.estimated} of them estimated), the server billed {billed}"
    if cell.estimated and scenario.cuts == NOBODY:
        yield f"{cell.estimated} tokens are estimated, and no call was cut off"
    # A call that we cut off may not have gone out yet.
    if calls < told["requests"] or calls > told["requests"] and scenario.cuts != WE:
        yield f"{calls} calls, the server had {told['requests']} requests"
    for attempt in attempts(report):
        estimated = attempt["usage"]["estimated_tokens"]
        if attempt["outcome"] == "integrated" and estimated:
            yield f"{estimated} tokens of an attempt that came to its end are estimated"


def off_by(used, estimated, billed):
    """Tokens that a report lacks, or has beyond those that it marks as estimated."""
    return max(used - estimated - billed, 0) + max(billed - used, 0)
