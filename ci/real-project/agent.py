"""Stands in for a coding agent: does one task with the work that was prepared for it in `work/`.

It behaves as real agents do: it reads the prompt and the task, edits files, runs a test of its own before it
claims anything, and prints what it used. Its first attempt at FR-3 is wrong, and it notices.
"""

import ast
import json
import os
import pathlib
import subprocess
import sys

WORK = pathlib.Path(__file__).resolve().parent / "work"
# Where each piece goes; with a name, it takes the place of that function, else it goes to the end.
PLACES = {
    "FR-1": ("src/humanize/filesize.py", None),
    "FR-2": ("src/humanize/lists.py", "natural_list"),
    "FR-3": ("src/humanize/number.py", None),
    "FR-4": ("src/humanize/time.py", None),
    "FR-5": ("src/humanize/__init__.py", None),
}


def used(tokens_in, tokens_out, calls):
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "api_calls": calls, "cost_usd": calls / 100}
    print(json.dumps({"type": "usage", "usage": usage}), flush=True)


def apply(piece, place, replaced):
    path = pathlib.Path(place)
    lines = path.read_text().splitlines()
    new = piece.read_text().rstrip("\n").splitlines()
    if replaced is None:
        lines += ["", "", *new]
    else:
        tree = ast.parse("\n".join(lines))
        old = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == replaced)
        lines[old.lineno - 1 : old.end_lineno] = new
    path.write_text("\n".join(lines) + "\n")


def main():
    task = json.loads(pathlib.Path(os.environ["MAESTRO_TASK_FILE"]).read_text())
    (requirement,) = task["requirements"]
    prompt = sys.stdin.read()
    if requirement not in prompt:
        sys.exit(f"the prompt does not name {requirement}")
    used(1000, 100, 1)

    attempt = int(os.environ["MAESTRO_ATTEMPT"])
    pieces = WORK / requirement
    wrong = pieces / "wrong.py"
    piece = wrong if attempt == 1 and wrong.exists() else pieces / "code.py"
    apply(piece, *PLACES[requirement])
    test = pathlib.Path("tests") / f"test_{requirement.lower().replace('-', '')}.py"
    test.write_text((pieces / "check.py").read_text())
    used(2500, 400, 2)

    # Its own check. No byte code and no cache: they would be part of what it leaves behind.
    command = [sys.executable, "-B", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", str(test)]
    check = subprocess.run(command, env={**os.environ, "PYTHONPATH": "src"}, stdout=sys.stderr)
    if check.returncode:
        sys.exit(f"my own test of {requirement} is red")


main()
