#!/usr/bin/env python3
"""Holds the reports of a run against each other and against its exit code.

Usage: agree.py DIR…   where DIR has junit.xml, report.json, final-report.md, report.html, report.sarif, comment.md,
step_summary.md, github_output and exit_code. Without exit_code the run was killed: its reports have to say that it has
not ended. Prints every disagreement, and ends with 1 where there is one."""
import json
import pathlib
import sys

from readers import READERS, Broken

# What a run that was killed need not have: it is made at the end.
AT_THE_END = {"comment.md", "step_summary.md", "github_output"}
# Verdicts by exit code.
VERDICTS = {0: "passed", 1: "failed", 5: "budget", 6: "setup", 7: "agent", 8: "report", 9: "rolled back", 130: "interrupted",
            143: "interrupted", None: "running"}


def exit_code_of(directory):
    path = directory / "exit_code"
    return int(path.read_text()) if path.exists() else None


def facts_of(directory, ended):
    """Facts by report, and what kept reports from being read."""
    found, broken = {}, []
    for name, reader in READERS.items():
        path = directory / name
        if not path.is_file():
            if ended or name not in AT_THE_END:
                broken.append(f"{name} is missing")
            continue
        try:
            found[name] = reader(path)
        except (Broken, KeyError, ValueError, AttributeError, json.JSONDecodeError, SyntaxError) as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
    return found, broken


def in_words(facts):
    """What Markdown says of the amounts, where the JSON report says these."""
    def amount(n):
        if n is None or n < 1000:
            return "unknown" if n is None else str(n)
        return f"{n // 1000}.{n % 1000 // 100}k" if n < 1_000_000 else f"{n // 1_000_000}.{n % 1_000_000 // 100_000}M"

    return {f"{name} in words": amount(facts[name]) for name in ("tokens", "api_calls")}


def disagreements(directory):
    """Every way in which the reports of a run do not tell the same."""
    directory = pathlib.Path(directory)
    code = exit_code_of(directory)
    found, problems = facts_of(directory, code is not None)
    if "report.json" not in found:
        return problems
    told = dict(found["report.json"])
    for name, expected in {**in_words(told), "exit_code": code, "verdict": VERDICTS.get(code)}.items():
        if told.setdefault(name, expected) != expected:
            problems.append(f"{name} is {told[name]!r} in report.json, and has to be {expected!r}")
    # A consumer is red where the run is not green.
    told["red"] = code != 0
    for report, facts in found.items():
        for name, value in facts.items():
            says = value.replace("at least ", "") if name.endswith("in words") else value
            if name in told and says != told[name]:
                problems.append(f"{name} is {says!r} in {report} and {told[name]!r} in report.json or by the exit code")
    return problems


def main():
    failed = False
    for directory in sys.argv[1:]:
        problems = disagreements(directory)
        failed |= bool(problems)
        for problem in problems:
            print(f"{directory}: {problem}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
