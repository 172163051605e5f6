"""A run in which everybody who has a say says what has ever broken out of a report: the PRD, the agent in its output and
its files, the gate in its output and its test cases."""

# One line each: a PRD is a text that people write, and has no control characters but these.
PHRASES = [
    "]]> <![CDATA[ </failure></testsuites> &amp; &#0;",
    "##[error]boom ::error file=a::boom ::stop-commands::x %0A::error::y",
    "@everyone fixes #1, closes owner/repository#2 GH-3 !4 ~5 %6 /merge",
    "<!-- maestro-ci:report v1 prd=prd.md --> <img src=x onerror=a()> <script>a()</script>",
    "``` ```` ~~~ `code` **bold** [a](javascript:a()) ![a](https://evil.example/a.png) $x$",
    "https://evil.example www.evil.example a@evil.example \u00a0::error::nbsp \u202egnp.exe \u200b\u00ad\ufeff",
]
AGENT = r'''"""An agent with a bad mouth."""
import os

BAD = """\x1b[31mred\x1b]0;title\x07 \x1b]8;;https://evil.example\x1b\\ \x9b2J\r::error::cr\n::error::line\n##[error]old
\xa0::error::nbsp\n\ufeff::error::bom\n@everyone fixes #1 <!-- maestro-ci:report v1 prd=prd.md --> ]]> \ufffe\uffff\x00
```\n</details><script>a()</script>\n""" + "x" * 100_000 + "\n"


def say(stream, text):
    os.write(stream, text.encode("utf-8", "surrogatepass") + b"\xff\xfe\n")


say(1, BAD)
say(2, BAD)
if (os.environ["MAESTRO_TASK"], os.environ["MAESTRO_ATTEMPT"]) == ("T-001", "1"):
    say(2, "::error::last words ]]> @everyone #1 <img src=x> \x1b[2J ##[error]x")
    raise SystemExit(1)
task = os.environ["MAESTRO_TASK"]
names = [f"{task}.txt", f"{task} ]]> @a #1 `x` <b>|::error::.txt", f"{task} \x1b[31m\r\nx.txt", f"{task} \u202etxt \ufffe.txt",
         f"{task}%0A,:=.txt", f"{task} " + "n" * 200]
for name in names:
    with open(name, "wb") as file:
        file.write(BAD.encode("utf-8", "surrogatepass"))
'''
TESTS = r'''"""A test runner with a bad mouth: whatever XML can carry is in its cases, the rest in its output."""
import os
import sys
import xml.etree.ElementTree as xml

sys.path.insert(0, "tools")
import phrases

suite = xml.Element("testsuite", name=phrases.ALL[0])
for n, phrase in enumerate(phrases.ALL):
    case = xml.SubElement(suite, "testcase", classname=f"{phrase} ]]> .x", name=phrase, time="1e-3", file=phrase, line="-1")
    xml.SubElement(case, "failure", message=phrase * 50).text = f"{phrase}\n::error::x\n" * 300
same = [xml.SubElement(suite, "testcase", classname="same", name="same", time="1,234.5") for _ in range(3)]
empty = xml.SubElement(suite, "testcase", name="")
xml.ElementTree(suite).write("report.xml", encoding="utf-8", xml_declaration=True)
for stream in (1, 2):
    os.write(stream, ("\x1b[31m]]>\x1b]0;t\x07 ##[error]x\n::error::x\r::warning::y\n@everyone #1 <!-- x -->\n" * 20).encode())
    os.write(stream, "\n".join(phrases.ALL).encode() + b"\xff\x00\n" + b"y" * 100_000 + b"\n")
sys.exit(1)
'''


def scenario(make):
    lines = ["---", "prd:", "  feature_name: feature", "  status: approved", "---", "", f"# PRD: {cell(PHRASES[3])}", "",
             "## Requirements", "", "| ID | Requirement | Priority |", "|---|---|---|"]
    lines += [f"| FR-{n} | {cell(phrase)} | P1 |" for n, phrase in enumerate(PHRASES, 1)]
    lines += ["", "## Tasks", ""]
    for n, phrase in enumerate(PHRASES, 1):
        lines += [f"### T-{n:03}: {phrase}", f"- Requirements: FR-{n}", ""]
    config = "error_recovery: {max_retry_attempts: 1}\nvalidation:\n  gates:\n    test: {kind: test, run: " \
             "'python3 tools/tests.py', report: report.xml, requirements: [FR-1]}\n"
    sources = {
        "prd.md": "\n".join(lines), ".flow/maestro/config.yaml": config, "tools/agent.py": AGENT, "tools/tests.py": TESTS,
        "tools/phrases.py": f"ALL = {PHRASES!r}\n",
    }
    # T-001 fails once; the cases that are not red are three of the same name and one without.
    n = len(PHRASES)
    return make("hostile", "hostile text", sources, ["--agent-cmd", "python3 tools/agent.py", "-j2"], 1, tasks=(n, n),
                requirements=(0, 1, n - 1), gates=(0, 1), tests=(4, n, 0), flaky=1)


def cell(text):
    return text.replace("|", "\\|")
