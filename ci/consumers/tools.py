"""The real consumers, each as a function of one run: it reads the run's report with the program, holds what that saw
against what the run was, and returns a few words for the table. `Wrong` says what is wrong."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent
# GitLab takes larger files, and GitHub larger SARIF when it is compressed; ours stay below both.
MAX_JUNIT_BYTES = 30_000_000
MAX_SUMMARY_BYTES = 1024 * 1024
MAX_COMMENT_CHARS = 65_536
# What we may tell the runner; everything else in the log is somebody else's words.
OUR_COMMANDS = {"group", "endgroup", "error", "warning", "notice", "debug", "add-mask"}
# Asks for the address of the tool's home page, which a tool that is installed from a checkout does not know.
NOT_OURS = {"SARIF2005"}
COUNTS = ("tests", "failures", "errors", "skipped")


class Wrong(Exception):
    """What a consumer has against a report."""


class Run:
    """One finished run for the consumers: where its reports are, its exit code, and what it was."""

    def __init__(self, directory, cache, schema, exit_code):
        self.directory, self.cache, self.schema = pathlib.Path(directory), pathlib.Path(cache), pathlib.Path(schema)
        self.exit_code = exit_code
        self.junit = self.directory / "junit.xml"

    def counts(self):
        """Cases by their end, as a parser of no consumer sees them."""
        cases = list(xml.parse(self.junit).iter("testcase"))
        has = lambda name: sum(case.find(name) is not None for case in cases)
        return {"tests": len(cases), "failures": has("failure"), "errors": has("error"), "skipped": has("skipped")}

    def check(self, seen):
        """Counts are what they are, and red is where the exit code is not 0."""
        counts = self.counts()
        for name, number in seen.items():
            if number != counts[name]:
                raise Wrong(f"it sees {number} {name}, there are {counts[name]}")
        if (counts["failures"] + counts["errors"] > 0) != (self.exit_code != 0):
            raise Wrong(f"red is not where the exit code is {self.exit_code}: {counts}")
        return " / ".join(str(counts[name]) for name in COUNTS)


def program(*command, env=None, codes=(0,)):
    """The output of a program that has to end with one of these codes."""
    # Into a file: some programs of node end before a pipe has taken all they said.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=said,
                              stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        said.seek(0)
        text = said.read().decode(errors="replace")
    if done.returncode not in codes:
        raise Wrong(f"exit code {done.returncode}: {text.strip()[-2000:]}")
    return text


def number(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def junitparser(run):
    python = run.cache / "venv/bin/python"
    seen = json.loads(program(python, HERE / "in_venv.py", "junitparser", run.junit))
    # Its own way to say red, for pipelines.
    program(run.cache / "venv/bin/junitparser", "verify", run.junit, codes=(0,) if run.exit_code == 0 else (1,))
    return run.check(seen)


def lxml(run):
    python = run.cache / "venv/bin/python"
    if run.junit.stat().st_size > MAX_JUNIT_BYTES:
        raise Wrong(f"{run.junit.stat().st_size} bytes")
    return run.check(json.loads(program(python, HERE / "in_venv.py", "lxml", run.junit, HERE / "junit.xsd")))


def junit2html(run):
    page = run.directory / "junit2html.html"
    program(run.cache / "venv/bin/junit2html", run.junit, page)
    text = page.read_text()
    if re.search(r"<script>a\(\)|<img src=x", text):
        raise Wrong("text of the run became a tag in its page")
    shown = lambda outcome: text.count(f'class="test outcome outcome-{outcome}"')
    counts = run.counts()
    if shown("failed") != counts["failures"] + counts["errors"]:
        raise Wrong(f"it shows {shown('failed')} as failed, there are {counts}")
    return run.check({"tests": sum(map(shown, ("passed", "failed", "skipped"))), "skipped": shown("skipped")})


def xunit_viewer(run):
    page = run.directory / "xunit-viewer.html"
    viewer = run.cache / "node_modules/.bin/xunit-viewer"
    # It ends with 1 where something failed.
    said = program(viewer, "-r", run.junit, "-o", page, "-c", codes=(0, 1))
    if not page.is_file():
        raise Wrong(f"no page: {said[-500:]}")
    # Its last words: `7 passed, 4 failure, 1 error, 4 skipped`; what there is none of is not named.
    last = [line for line in said.splitlines() if re.match(r"\S*\d+ (passed|failure|error|skipped)", line)]
    if not last:
        raise Wrong(f"it counts nothing: {said[-500:]}")
    seen = lambda word: sum(int(n) for n in re.findall(rf"(\d+) {word}", re.sub(r"\x1b\[[0-9;]*m", "", last[-1])))
    return run.check({"failures": seen("failure"), "errors": seen("error"), "skipped": seen("skipped")})


def sarif(run):
    path, out = run.directory / "report.sarif", run.directory / "sarif-validation.sarif"
    tool = run.cache / "node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool"
    program(tool, "validate", path, "--rule-kind", "Sarif;Ghas", "--output", out, "--log", "ForceOverwrite", codes=(0, 1),
            env={"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"})
    found = json.loads(out.read_text(encoding="utf-8-sig"))["runs"][0]
    loud = [r for r in found.get("results", []) if r.get("level", "warning") in ("error", "warning")]
    loud = [r for r in loud if r["ruleId"] not in NOT_OURS]
    broken = [n for i in found.get("invocations", []) for n in i.get("toolExecutionNotifications", [])]
    if loud or broken:
        raise Wrong("; ".join(f"{r.get('ruleId', 'tool')} {r.get('level')}: {r['message'].get('text') or r['message']}"
                              for r in (loud + broken)[:5]))
    results = json.loads(path.read_text())["runs"][0]["results"]
    errors = sum(r["level"] == "error" for r in results)
    if (errors > 0) and run.exit_code == 0:
        raise Wrong("errors in a run that passed")
    return number(len(results), "result")


def json_schema(run):
    program(run.cache / "venv/bin/check-jsonschema", "--schemafile", run.schema, run.directory / "report.json")
    return "valid"


def runner(run):
    """GitHub's runner: the commands it takes from the log, and the files it reads."""
    log = (run.directory / "log").read_bytes().decode(errors="replace")
    given = {}
    for line in log.splitlines():
        name = command(line)
        if name:
            given[name] = given.get(name, 0) + 1
    strange = set(given) - OUR_COMMANDS
    if strange:
        raise Wrong(f"the log gives the commands {sorted(strange)}")
    for level in ("error", "warning", "notice"):
        if given.get(level, 0) > 10:
            raise Wrong(f"{given[level]} annotations of level {level}; the runner takes 10")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", log.replace("\r\n", "\n")):
        raise Wrong("a control character in the log")
    summary, comment = run.directory / "step_summary.md", run.directory / "comment.md"
    if summary.exists() and summary.stat().st_size > MAX_SUMMARY_BYTES:
        raise Wrong(f"a summary of {summary.stat().st_size} bytes")
    if comment.exists() and len(comment.read_text().encode("utf-16-le")) // 2 > MAX_COMMENT_CHARS:
        raise Wrong("a comment that is too long")
    return number(sum(given.get(level, 0) for level in ("error", "warning", "notice")), "annotation")


def command(line):
    """The name of the command that the runner takes from a line. Its comparisons skip characters without a shape."""
    line = re.sub("[\u00ad\u200b-\u200f\u2060-\u206f\ufeff]", "", line)
    new = re.match(r"\s*::([^ :]+)(?: [^:]*)?::", line)
    old = re.search(r"##(?:vso)?\[([^\] ]+)[^\]]*\]", line)
    return new[1] if new else old[1] if old else None


# Name, package, kind of version, function.
CONSUMERS = [
    ("junitparser", "junitparser", junitparser),
    ("lxml, rules of junit.xsd", "lxml", lxml),
    ("junit2html", "junit2html", junit2html),
    ("xunit-viewer", "xunit-viewer", xunit_viewer),
    ("SARIF Multitool, Sarif;Ghas", "@microsoft/sarif-multitool-linux", sarif),
    ("check-jsonschema, schema report", "check-jsonschema", json_schema),
    ("GitHub runner's rules", None, runner),
]
