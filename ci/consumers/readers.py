"""What each report of a run says, read out of the report alone: one function a format, each returns facts by name.

The facts: verdict, exit_code, session, tasks (done, all), requirements (met, unmet, unverified), gates (green, not green),
tests (passed, failed, skipped), flaky (attempts that failed before their task was done), tokens, api_calls, cost_microusd
(None where unknown). A format that does not tell a fact leaves it out; one that contradicts itself raises `Broken`."""
import html.parser
import json
import re
import xml.etree.ElementTree as xml

DONE = {"done", "no_op"}


class Broken(Exception):
    """A report that cannot be read, or that contradicts itself."""


def check(holds, what):
    if not holds:
        raise Broken(what)


def from_json(path):
    report = json.loads(path.read_text())
    count = lambda of, key, *values: sum(item[key] in values for item in report[of])
    done = [task for task in report["tasks"] if task["status"] in DONE]
    budget = report["budget"]
    return {
        "verdict": report["verdict"], "exit_code": report["exit_code"], "session": report["session"],
        "tasks": (len(done), len(report["tasks"])),
        "requirements": tuple(count("requirements", "status", s) for s in ("met", "unmet", "unverified")),
        "gates": (count("gates", "status", "passed"), count("gates", "status", "failed", "inconclusive")),
        "tests": tuple(sum(tests(gate, s) for gate in report["gates"]) for s in ("passed", "failed", "skipped")),
        "tests counted": sum(sum(gate["counts"].values()) or len(gate["cases"]) for gate in report["gates"]),
        "flaky": sum(attempt["outcome"] == "failed" for task in done for attempt in task["attempts"]),
        "tokens": budget["tokens"]["used"], "api_calls": budget["api_calls"]["used"],
        "cost_microusd": budget["cost_microusd"]["used"], "findings": len(report["findings"]),
    }


def tests(gate, status):
    """The runner's own count where it gave one; lists of cases are bounded."""
    listed = sum(case["status"] == status for case in gate["cases"])
    return gate["counts"].get(status, listed)


def from_junit(path):
    root = xml.parse(path).getroot()
    check(root.tag == "testsuites", f"the root is {root.tag}")
    suites = {suite.get("name"): suite for suite in root}
    check(len(suites) == len(root), "two suites have the same name")
    totals = [counts_of(suite) for suite in root]
    for key in ("tests", "failures", "errors"):
        check(int(root.get(key)) == sum(t[key] for t in totals), f"the root counts other {key} than its suites hold")
    properties = {p.get("name"): p.get("value") for p in suites["tasks"].iter("property")}
    number = lambda name: None if properties[name] == "unknown" else int(properties[name])
    ends = {name: [(case.get("name"), end_of(case)) for case in suite.iter("testcase")] for name, suite in suites.items()}
    task_ends = [end for _, end in ends["tasks"]]
    gate_ends = [end for name, end in ends["gates"] if name != "verdict"]
    own = [end for name, cases in ends.items() if name.startswith("gate:") for _, end in cases]
    requirement = [end for _, end in ends["requirements"]]
    done = [case for case in suites["tasks"].iter("testcase") if end_of(case) == "passed"]
    red = any(t["failures"] + t["errors"] for t in totals)
    # Lists of cases are bounded, and say how many they lack.
    lacking = sum(int(p.get("value")) for p in root.iter("property") if p.get("name") == "cases_not_listed")
    counted = {} if lacking else {"tests": (own.count("passed"), own.count("red"), own.count("skipped"))}
    return {
        **counted, "tests counted": len(own) + lacking,
        "verdict": properties["verdict"], "session": properties["session"], "red": red,
        "tasks": (len(done), len(task_ends)),
        "requirements": (requirement.count("passed"), requirement.count("red"), requirement.count("skipped")),
        "gates": (gate_ends.count("passed"), gate_ends.count("red")),
        "flaky": sum(len(case.findall("flakyFailure") + case.findall("flakyError")) for case in done),
        "tokens": number("tokens_used"), "api_calls": number("api_calls_used"),
        "cost_microusd": number("cost_microusd_used"),
    }


def counts_of(suite):
    cases = list(suite.iter("testcase"))
    counted = {"tests": len(cases), "failures": sum(c.find("failure") is not None for c in cases),
               "errors": sum(c.find("error") is not None for c in cases),
               "skipped": sum(c.find("skipped") is not None for c in cases)}
    for key, value in counted.items():
        said = int(suite.get(key, value))
        check(said == value, f"suite {suite.get('name')} says {said} {key} and holds {value}")
    return counted


def end_of(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "red"
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    # What must not turn a consumer red, because the run did not need it, and is red all the same.
    return "red" if skipped.get("type") == "not_required" else "skipped"


def from_markdown(path):
    text = path.read_text()
    verdict = re.search(r"^\*\*([a-zA-Z ]+)\*\*", text, re.M)
    check(verdict, "no verdict at the start of a line")
    facts = {"verdict": verdict[1]}
    facts["session"] = field(text, "Session")
    done, every = field(text, "Tasks").split(" of ")
    facts["tasks"] = (int(done), int(every))
    for row, name in (("Tokens", "tokens"), ("API calls", "api_calls"), ("Cost", "cost_microusd")):
        cells = re.search(rf"^\| {row} \|([^|]*)\|([^|]*)\|", text, re.M)
        check(cells, f"no row for {row} in the budget")
        facts[f"{name} in words"] = cells[2].strip()
    table = text.partition("\n## Requirements\n")[2].partition("\n## ")[0]
    if "\nand " not in table:
        cells = [re.split(r"(?<!\\)\|", line) for line in table.splitlines() if line.startswith("| ")][1:]
        standing = [row[4].strip() for row in cells]
        facts["requirements"] = tuple(standing.count(s) for s in ("met", "unmet", "unverified"))
    return facts


def field(text, name):
    found = re.search(rf"^- {name}: (.*)$", text, re.M)
    check(found, f"no line for {name}")
    return found[1].replace("\\", "")


class Metas(html.parser.HTMLParser):
    """The facts in a page's head."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "meta" and (attrs.get("name") or "").startswith("maestro-ci:"):
            self.found[attrs["name"].partition(":")[2]] = attrs["content"]


def from_html(path):
    metas = Metas()
    metas.feed(path.read_text())
    found = metas.found
    number = lambda text: None if text in ("", "unknown") else int(text)
    facts = {"verdict": found["verdict"], "session": found["session"], "exit_code": number(found["exit-code"])}
    facts["tasks"] = tuple(int(n) for n in found["tasks"].split("/"))
    for name in ("tokens", "api-calls", "cost-microusd"):
        facts[name.replace("-", "_")] = number(found[name])
    return facts


def from_sarif(path):
    (run,) = json.loads(path.read_text())["runs"]
    (invocation,) = run["invocations"]
    # The verdict, and after a comma what qualifies it.
    facts = {"verdict": invocation["exitCodeDescription"].partition(",")[0], "exit_code": invocation.get("exitCode")}
    check(invocation["executionSuccessful"] == (facts["exit_code"] == 0), "executionSuccessful and exitCode disagree")
    properties = run.get("properties", {})
    facts["session"] = properties["session"]
    facts["findings"] = len(run["results"]) + properties.get("findings_left_out", 0)
    return facts


def from_output(path):
    """The file as GitHub's runner reads it."""
    values, lines = {}, iter(path.read_text().splitlines())

    def put(name, value):
        # The runner takes the last one; none may say something else.
        check(values.setdefault(name, value) == value, f"{name} is told twice, as {values[name]!r} and as {value!r}")

    for line in lines:
        if re.match(r"[^=]*<<", line):
            name, _, delimiter = line.partition("<<")
            value = []
            for line in lines:
                if line == delimiter:
                    break
                value.append(line)
            else:
                raise Broken(f"the delimiter of {name} never comes")
            put(name, "\n".join(value))
        else:
            name, equals, value = line.partition("=")
            check(equals, f"no name and value: {line!r}")
            put(name, value)
    facts = {"verdict": values["verdict"], "exit_code": int(values["exit_code"]), "session": values["session"]}
    for name in ("tokens", "api_calls"):
        facts[name] = int(values[name]) if values[name] else None
    return facts


def from_page(path):
    """A comment or a summary: the verdict and the tasks stand at its beginning."""
    text = re.sub(r"<!--.*?-->", "", path.read_text())
    verdict = re.search(r"\*\*([a-zA-Z ]+?)\*\*", text)
    tasks = re.search(r"(\d+)(?:/| of )(\d+)\*{0,2} tasks?|Tasks: (\d+) of (\d+)", text)
    check(verdict and tasks, "no verdict or no tasks")
    done, every = [int(n) for n in tasks.groups() if n]
    return {"verdict": verdict[1], "tasks": (done, every)}


READERS = {
    "report.json": from_json, "junit.xml": from_junit, "final-report.md": from_markdown, "report.html": from_html,
    "report.sarif": from_sarif, "comment.md": from_page, "step_summary.md": from_page, "github_output": from_output,
}
