"""Four agents at once, each with a task of its own and a run of the server of its own: calls and tokens that the server
counted and that the gateway counted, agent by agent."""
import socket
from dataclasses import dataclass, field

import crew
import servers
from cells import ONCE, off_by
from world import World

TEAM = ("claude", "codex", "gemini", "qwen")
LARGE = ("--max-tokens", "10M")
# What the server plays, the exit code it leads to, and what maestro-ci is told. Not `larger`: agents that are told of so
# many tokens begin to condense what they know, each in its own time.
OWN = (
    ("ok", 0, ()), ("two", 0, ()), ("shell", 0, ()), ("exit3", 0, ()), ("429x2", 0, ()), ("529x2", 0, ()),
    ("late_usage", 0, ()), ("slow-20", 0, ()), ("401", 7, ONCE),
    ("loop", 5, (*ONCE, "--set", "resource_limits.task.max_api_calls=10")),
    ("no_usage", 0, LARGE),
    ("cut+whole", 7, (*ONCE, *LARGE)), ("garbage+whole", 7, (*ONCE, *LARGE)), ("close", 7, (*ONCE, *LARGE)),
    ("stall", 7, (*ONCE, *LARGE, "--set", "gateway.stall_seconds=2")),
)
OLDER = (
    ("ok", 0, ()), ("two", 0, ()), ("shell", 0, ()), ("exit3", 0, ()), ("e429x2", 0, ()), ("e529x2", 0, ()),
    ("e401", 7, ONCE), ("loop", 5, (*ONCE, "--set", "resource_limits.task.max_api_calls=10")),
    ("cut", 7, (*ONCE, *LARGE)), ("garbage", 7, (*ONCE, *LARGE)), ("close", 7, (*ONCE, *LARGE)),
    ("stall", 7, (*ONCE, *LARGE, "--set", "gateway.stall_seconds=2")),
)
# Scenarios whose answers do not tell what they cost.
UNTOLD = {"no_usage", "cut", "garbage", "close", "stall"}


@dataclass
class Round:
    """What came of four agents in one scenario."""

    server: str
    scenario: str
    code: int | None
    counted: servers.Count
    gateway: servers.Count
    # Of the gateway's tokens, those of calls that were cut off, at their worst.
    estimated: int
    # Tokens that the gateway lacks, or has beyond those, added up agent by agent.
    error: int
    problems: list = field(default_factory=list)


def play_all(options, own, say):
    """Every scenario with the project's own server, and with the older one where it is there."""
    rounds = [play(options, own, *scenario, say) for scenario in OWN]
    if not options.shared.is_file():
        say("there is no model_server.py beside the repository")
        return rounds
    older = servers.Older(options.shared, options.runs / "older", free_port())
    try:
        return rounds + [play(options, older, *scenario, say) for scenario in OLDER]
    finally:
        older.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def play(options, server, scenario, wanted, more, say):
    # The older server's tools write elsewhere and `shell` writes nothing: a task without a change is fine here.
    tasks = [(name, f"{name}.txt", "\n- No-op: yes") for name in TEAM]
    run = f"four-{server.name}-{scenario}"
    world = World(options.runs / run, options, tasks)
    flags = ["--prd", "prd.md", "-j4", *more]
    for agent in (agent for agent in crew.CREW if agent.name in TEAM):
        suffix = "/v1" if agent.provider == "openai" else ""
        entry = f"{{protocol: {agent.name}, model: {agent.model}}}"
        for text in (f"agents.{agent.name}={entry}", f"agent.roles.{agent.name}={agent.name}",
                     f"gateway.upstream.{agent.name}={server.url(scenario, f'{run}-{agent.name}')}{suffix}"):
            flags += ["--set", text]
    world.start([*flags, "--agent", TEAM[0]], {})
    code = world.wait()
    report = world.report()
    counts = {name: server.count(scenario, f"{run}-{name}") for name in TEAM}
    own = {name: used(report, name) for name in TEAM}
    estimated = {name: sum(a["usage"]["estimated_tokens"] for a in attempts(report, name)) for name in TEAM}
    error = sum(off_by(own[name].tokens, estimated[name], counts[name].tokens) for name in TEAM)
    done = Round(server.name, scenario, code, total(counts), total(own), sum(estimated.values()), error)
    if code != wanted:
        done.problems.append(f"exit code {code} instead of {wanted}")
    done.problems += problems(world, counts, own, estimated, scenario.partition("+")[0] in UNTOLD)
    say(f"four      {server.name:<15} {scenario:<12} {done.counted.requests} calls, {done.counted.tokens} tokens, "
        f"error {error}", done.problems)
    return done


def attempts(report, name):
    return [a for task in report.get("tasks", []) for a in task["attempts"] if a["agent"] == name]


def used(report, name):
    """What the gateway counted for one agent."""
    usages = [attempt["usage"] for attempt in attempts(report, name)]
    tokens = sum(usage["input_tokens"] + usage["output_tokens"] for usage in usages)
    return servers.Count(sum(usage["api_calls"] for usage in usages), tokens)


def total(counts):
    return sum(counts.values(), servers.Count(0, 0))


def problems(world, counts, own, estimated, is_untold):
    for name in TEAM:
        is_same = counts[name].requests == own[name].requests and (is_untold or counts[name] == own[name])
        is_guessed = estimated[name] and not is_untold
        if not is_same or is_guessed or off_by(own[name].tokens, estimated[name], counts[name].tokens):
            yield f"{name}: the server counted {counts[name]}, the gateway {own[name]}, {estimated[name]} estimated"
        if not counts[name].requests:
            yield f"{name}: no call"
    if world.survivors() or world.leftovers():
        yield f"left: {world.survivors()} {world.leftovers()}"
