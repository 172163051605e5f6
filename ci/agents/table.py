"""The table as Markdown."""
from cells import AFTER_KILL

HEAD = """# The real agents

Written by `ci/agents.sh`; not for editing. {date}, maestro-ci {maestro}, Linux {kernel}, isolation L1, Node {node}.

Every agent at its pinned version, run by maestro-ci with its gateway and its walls on, against the project's own model
server on the loopback. A cell holds the state of the attempts, in order (`completed`, or the reason of the fault that
ended one), in parentheses what the agents' event streams ended as where that is another word, and the exit code of
maestro-ci. A ✗ marks what had to be otherwise, and the script fails. Of each cell this holds, too:

* No process and no workspace was left, after the run and after SIGTERM; {after_kill} s after kill −9 at the latest.
* The result branch has the file that the model wrote where the exit code is 0, and nothing elsewhere.
* Every limit held by the server's own count, by what that costs, and by the clock.
* Every call that the server had is in the report, and the server's tokens are the report's. Where the scenario cuts no
  call off, they are that to the token, and nothing is estimated; elsewhere up to what the report marks as estimated.
  Attempts that came to their end have nothing estimated in any scenario.
* Where nothing is estimated, the report's cost is that of the server's tokens.
* Nothing of a hostile repository ran: no hook, no MCP server, no plugin; and none of its settings sent a call elsewhere.

"""
SCENARIOS = """
## What the scenarios are

| scenario | model server | maestro-ci |
|---|---|---|
"""
TOTALS = """
## What was counted

All scenarios of an agent together; tokens of input and output. *Estimated* is what calls whose end nobody saw can have
used at most, beyond what was seen. The last column is the time from kill −9 of maestro-ci until no process was left.

| agent | requests | tokens billed | of the report's tokens, estimated | error besides | gone after kill −9 |
|---|---:|---:|---:|---:|---:|
"""
FOUR = """
## Four agents at once

claude, codex, gemini and qwen in one session with four jobs; each has a run of the server to itself, and the comparison
is made agent by agent. *Error* is what is left where estimates of calls that were cut off are taken out.

| server | scenario | exit code | calls, server | calls, gateway | tokens, server | tokens, gateway | estimated | error |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def dying(own):
    return next((f"{cell.dying_seconds:.2f} s" for cell in own if cell.dying_seconds is not None), "–")


def markdown(date, facts, versions, agents, scenarios, found, rounds):
    text = HEAD.format(date=date.isoformat(), maestro=facts["maestro-ci"], kernel=facts["kernel"], node=facts["node"],
                       after_kill=AFTER_KILL)
    text += row("agent", *(s.title for s in scenarios)) + "|---" * (len(scenarios) + 1) + "|\n"
    for agent in agents:
        text += row(agent.title(versions), *(found[agent.name, s.name].text() for s in scenarios))
    text += SCENARIOS
    limits = " or ".join(sorted({agent.max_cost for agent in agents}))
    for scenario in scenarios:
        flags = " ".join(scenario.flags).format(max_cost=limits, canaries="DIR") or "defaults"
        text += row(scenario.title, f"`{scenario.plays}`", f"`{flags}`")
    text += TOTALS
    for agent in agents:
        own = [found[agent.name, s.name] for s in scenarios]
        text += row(agent.title(versions), sum(c.calls for c in own), sum(c.tokens for c in own),
                    sum(c.estimated for c in own), sum(c.error for c in own), dying(own))
    text += "".join(f"\n* {agent.name}, {s.name}: {problem}\n" for agent in agents for s in scenarios
                    for problem in found[agent.name, s.name].problems)
    if rounds:
        text += FOUR
    for r in rounds:
        text += row(r.server, f"`{r.scenario}`", f"{r.code}{' ✗' if r.problems else ''}", r.counted.requests,
                    r.gateway.requests, r.counted.tokens, r.gateway.tokens, r.estimated, r.error)
    return text
