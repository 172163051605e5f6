#!/usr/bin/env python3
"""SIGINT at random moments of a run whose agents and gates ignore signals. Called by ci/cancel.sh.

At each moment: the process ends within three seconds, its reports are all there and agree with each other and with its
exit code, and nothing that it started is left. Prints where the moments fell and how long the ends took."""
import argparse
import pathlib
import random
import shutil
import statistics
import sys
import time

import agree
import scenarios
import world

# What somebody who cancels is promised, seconds.
PROMISED = 3.0
# Neither it nor its children do what signals ask for, and yet it works: a run passes through all its phases.
AGENT = r"""trap '' INT TERM HUP
echo '{"usage":{"input_tokens":900,"output_tokens":100,"api_calls":1}}'
setsid sleep 20 &
sleep 20 &
sleep 0.3
echo "by $MAESTRO_TASK" > "$MAESTRO_TASK.txt"
sleep 0.2
"""
GATE = ('trap "" INT TERM HUP; setsid sleep 20 & sleep 0.5; python3 tools/tests.py passed passed', "requirements: [FR-1]")
# The latest of these that the journal names says where a moment fell.
EVENTS = ["session_started", "planned", "setup_started", "attempt_started", "workspace_ready", "agent_ended", "captured",
          "merged", "checkpoint_started", "round_started", "gate_ended", "status_write_started", "session_finished"]


def new_world(options, name):
    config = scenarios.gates(test=GATE)
    return world.World(options.maestro, options.tmp / name, options.tmp / "out" / name, scenarios.files(config))


ARGS = ["--agent-cmd", AGENT, "-j2"]


def whole(options):
    """How long a run takes that nobody cancels."""
    here = new_world(options, "whole")
    started = time.monotonic()
    code = here.end(here.start(ARGS), 120)
    took = time.monotonic() - started
    if code != 0 or (found := agree.disagreements(here.out)):
        sys.exit(f"cancel: the run without a signal ends with {code}: {found if code == 0 else here.log_tail()}")
    shutil.rmtree(here.top)
    return took


def cancelled(options, n, moment):
    """One run with a signal at a moment: (place, seconds to its end, problems)."""
    here = new_world(options, f"moment-{n}")
    process = here.start(ARGS)
    time.sleep(moment)
    place = next((event for event in reversed(EVENTS) if f'"{event}"' in here.journal()), "before the session")
    started = time.monotonic()
    world.interrupt(process)
    try:
        code = process.wait(60)
    except Exception:
        process.kill()
        return place, 60.0, [f"hangs\n{here.log_tail()}"]
    took = time.monotonic() - started
    problems = [] if took <= PROMISED else [f"took {took:.2f} s"]
    # At once: what is left when the process has ended is left for good, for all that a CI job knows.
    problems += [f"alive: {line}" for line in here.survivors()] + [f"left: {path}" for path in here.leftovers()]
    if here.journal():
        (here.out / "exit_code").write_text(f"{code}\n")
        here.fetch({"comment.md": "comment.md"})
        problems += agree.disagreements(here.out)
        if code not in (130, 0):
            problems.append(f"exit code {code}\n{here.log_tail()}")
    elif code not in (130, -2):
        problems.append(f"exit code {code} before the session\n{here.log_tail()}")
    if not problems:
        shutil.rmtree(here.top)
        shutil.rmtree(here.out)
    return place, took, problems


def main():
    parser = argparse.ArgumentParser()
    for name in ("maestro", "tmp"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--moments", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    length = whole(options)
    print(f"a run takes {length:.1f} s; {options.moments} moments from seed {options.seed}")
    dice = random.Random(options.seed)
    ends, places, failed = [], {}, 0
    for n in range(options.moments):
        moment = dice.uniform(0.02, length)
        place, took, problems = cancelled(options, n, moment)
        ends.append(took)
        places[place] = places.get(place, 0) + 1
        failed += bool(problems)
        for problem in problems:
            print(f"moment {n}, at {moment:.3f} s ({place}): {problem}", file=sys.stderr)
    for place in ["before the session", *EVENTS]:
        if place in places:
            print(f"{places[place]:>4}  after {place}" if place in EVENTS else f"{places[place]:>4}  {place}")
    ends.sort()
    at = lambda share: ends[min(len(ends) - 1, int(share * len(ends)))]
    print(f"seconds to the end: least {ends[0]:.2f}, median {statistics.median(ends):.2f}, of 90 in 100 {at(0.9):.2f}, "
          f"most {ends[-1]:.2f}; promised {PROMISED}")
    if failed:
        sys.exit(f"cancel: {failed} of {options.moments} moments went wrong; seed {options.seed}")


if __name__ == "__main__":
    main()
