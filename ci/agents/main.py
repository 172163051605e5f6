"""Every agent through every scenario, then four at once; the table of it. `../agents.sh` installs and builds first."""
import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys

import cells
import crew
import parallel
import servers
import table


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("maestro", "server", "modules", "docs", "tmp", "shared", "prices"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--version", action="append", default=[], metavar="PROGRAM=VERSION")
    parser.add_argument("--agent", action="append", default=[], choices=[agent.name for agent in crew.CREW])
    parser.add_argument("--scenario", action="append", default=[], choices=[s.name for s in cells.SCENARIOS])
    parser.add_argument("--no-parallel", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    return parser.parse_args()


def main():
    options = arguments()
    options.prices = json.loads(options.prices.read_text())["models"]
    options.versions = dict(text.split("=", 1) for text in options.version)
    options.runs = (options.keep or options.tmp / "runs").resolve()
    options.runs.mkdir(parents=True, exist_ok=True)
    if any(options.runs.iterdir()):
        sys.exit(f"agents: {options.runs} holds something already: name another directory, or empty it")
    agents = [agent for agent in crew.CREW if not options.agent or agent.name in options.agent]
    scenarios = [s for s in cells.SCENARIOS if not options.scenario or s.name in options.scenario]
    found = {}
    server = servers.Own(options.server, options.runs)
    try:
        for agent in agents:
            for scenario in scenarios:
                cell = found[agent.name, scenario.name] = cells.play(options, server, agent, scenario)
                say(f"{agent.name:<9} {scenario.name:<14} {cell.text():<48} {cell.seconds:5.1f} s", cell.problems)
        rounds = [] if options.no_parallel else parallel.play_all(options, server, say)
    finally:
        server.close()
    facts = {
        "maestro-ci": subprocess.run([options.maestro, "--version"], capture_output=True, text=True).stdout.split()[-1],
        "node": options.versions["node"], "kernel": platform.release().split("-")[0],
    }
    text = table.markdown(datetime.date.today(), facts, options.versions, agents, scenarios, found, rounds)
    is_whole = not (options.agent or options.scenario or options.no_parallel)
    if is_whole:
        options.docs.parent.mkdir(exist_ok=True)
        options.docs.write_text(text)
    else:
        print(text)
    problems = sum(len(cell.problems) for cell in found.values()) + sum(len(r.problems) for r in rounds)
    if problems:
        sys.exit(f"agents: {problems} problems")


def say(line, problems=()):
    print("   " + line, file=sys.stderr, flush=True)
    for problem in problems:
        print(f"     ✗ {problem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
