"""Proves that agree.py can see: each report of a run that agrees is changed in one place, and must then be found out."""
import pathlib
import re
import shutil

import agree

# By report: what is replaced, and with what. `{session}` is the run's own.
LIES = {
    "report.json": [('"verdict": "passed"', '"verdict": "failed"'), ('"exit_code": 0', '"exit_code": 1'), ("{session}", "x"),
                    ('"status": "done"', '"status": "failed"'), ('"status": "met"', '"status": "unmet"')],
    "junit.xml": [('name="verdict" value="passed"', 'name="verdict" value="failed"'), ("{session}", "x"),
                  (r'name="tokens_used" value="\d+"', 'name="tokens_used" value="7"'), (r'tests="\d+"', 'tests="99"'),
                  ("<skipped [^>]*>", "<failure/><skipped>"), ("<flakyFailure.*?</flakyFailure>", "")],
    "final-report.md": [(r"\*\*passed\*\*", "**failed**"), ("{session}", "x"), (r"Tasks: \d+", "Tasks: 9"),
                        (r"\| met \|", "| unmet |"), (r"(?m)^\| Tokens \|([^|]*)\|[^|]*\|", r"| Tokens |\1| 7 |")],
    "report.html": [('verdict" content="passed"', 'verdict" content="failed"'), ("{session}", "x"),
                    ('tokens" content="[^"]*"', 'tokens" content="7"'), ('exit-code" content="0"', 'exit-code" content="1"')],
    "report.sarif": [('"exitCode": ?0', '"exitCode": 1'), ("{session}", "x"), ('"exitCodeDescription": ?"passed',
                     '"exitCodeDescription": "failed')],
    "comment.md": [(r"\*\*passed\*\*", "**failed**"), (r"(\d+) of (\d+) tasks", r"0 of \2 tasks")],
    "step_summary.md": [(r"\*\*passed\*\*", "**failed**")],
    "github_output": [("verdict=passed", "verdict=failed"), ("{session}", "x"), ("exit_code=0", "exit_code=1")],
}


def unseen(directory, scratch):
    """Every lie that is not found out, and every one that could not be told."""
    directory, scratch = pathlib.Path(directory), pathlib.Path(scratch)
    session = agree.facts_of(directory, True)[0]["report.json"]["session"]
    problems = []
    for name, lies in LIES.items():
        for what, instead in lies:
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(directory, scratch)
            text, n = re.subn(what.replace("{session}", session), instead, (scratch / name).read_text(), count=1, flags=re.S)
            (scratch / name).write_text(text)
            if n == 0:
                problems.append(f"{name} has no {what!r}")
            elif not agree.disagreements(scratch):
                problems.append(f"nobody sees {instead!r} in {name}")
    shutil.rmtree(scratch, ignore_errors=True)
    return problems
