"""Whole runs against GitHub's own description of its API: see ../forge.sh."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from forge import Forge
from operations import OPERATIONS, trim

PRD = """---
prd:
  feature_name: feature
  status: approved
priorities:
  requirements:
    - {id: FR-1, text: "the first", priority: P1}
---
# PRD: feature
"""
COMMENTS = "/repos/{owner}/{repo}/issues/{issue_number}/comments"


class Job:
    """A job of GitHub Actions for pull request 7."""

    def __init__(self, maestro, forge, home: Path):
        self.maestro, self.forge, self.home = maestro, forge, home
        self.repo = home / "repo"
        for name in ("repo", "work", "home", "runner"):
            (home / name).mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home / "home"), "MAESTRO_CI_WORK_DIR": str(home / "work"),
            "MAESTRO_CI_ALLOW_UNSANDBOXED": "true", "CI": "true", "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(home / "runner/event.json"),
            "GITHUB_REPOSITORY": "octo/project", "GITHUB_SERVER_URL": "https://forge.example",
            "GITHUB_API_URL": forge.api, "GITHUB_RUN_ID": "123", "GITHUB_TOKEN": "ghs_" + "0" * 36,
            "GITHUB_REF": "refs/pull/7/merge", "GITHUB_SHA": "2" * 40, "RUNNER_TEMP": str(home / "runner"),
            "GITHUB_OUTPUT": str(home / "runner/output"), "GITHUB_STEP_SUMMARY": str(home / "runner/summary"),
        }
        (self.repo / "prd.md").write_text(PRD)
        cases = "".join(
            f'<testcase classname="s.c{n}" name="t{n}" file="src/f{n}.rs" line="{n + 1}" time="0">'
            f'<failure message="case {n}" type="assert">case {n}</failure></testcase>' for n in range(120))
        suite = f'<testsuite name="s" tests="120" failures="120">{cases}</testsuite>'
        (self.repo / "junit.in").write_text(f"<testsuites>{suite}</testsuites>")
        (self.repo / "src").mkdir()
        for n in range(120):
            (self.repo / f"src/f{n}.rs").write_text("\n" * 120)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "user")
        self.git("config", "user.email", "user@localhost")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "prd")
        self.git("init", "-q", "--bare", str(home / "remote.git"))
        self.git("remote", "add", "origin", str(home / "remote.git"))
        self.head = self.git("rev-parse", "HEAD")
        repository = {"full_name": "octo/project"}
        end = lambda branch: {"ref": branch, "sha": self.head, "repo": repository}
        self.event({"number": 7, "repository": repository,
                    "pull_request": {"number": 7, "head": end("topic"), "base": end("main")}})

    def event(self, document):
        (self.home / "runner/event.json").write_text(json.dumps(document))

    def git(self, *args):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home / "home")}
        done = subprocess.run(["git", *args], cwd=self.repo, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def maestro_ci(self, *args, code=0):
        done = subprocess.run([self.maestro, *args], cwd=self.repo, env=self.env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=180)
        if done.returncode != code:
            raise SystemExit(f"forge: {' '.join(args)}: exit code {done.returncode} instead of {code}\n"
                             f"{done.stdout}{done.stderr}")
        return done

    def run(self, *args, agent='echo done > "$MAESTRO_TASK.txt"', code=0):
        return self.maestro_ci("--prd", "prd.md", "--agent-cmd", agent, *args, code=code)


def fits(forge, what):
    """All requests fit the description; they are told, one a line. Which operations they were."""
    seen = forge.take()
    refused = lambda r: r["status"] == forge.refusals.get(r["operation"])
    wrong = [r for r in seen if r["operation"] is None or not (200 <= r["status"] < 300 or refused(r))]
    for request in seen:
        mark = "✗" if request in wrong else "✓"
        print(f"   {mark} {request['status']} {request['method']} {request['path']}")
    for request in wrong:
        print(json.dumps({k: request[k] for k in ("answer", "body")}, indent=1)[:4000])
    if wrong or not seen:
        raise SystemExit(f"forge: {what}: {len(wrong)} of {len(seen)} requests do not fit GitHub's description")
    return {r["operation"] for r in seen}


def main():
    parser = argparse.ArgumentParser()
    for name in ("maestro", "node", "modules", "tmp"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    tmp, modules = Path(args.tmp), Path(args.modules)
    description = tmp / "api.json"
    trim(modules / "@octokit/openapi/generated/api.github.com.json", description)
    with open(tmp / "prism.log", "w") as log:
        forge = Forge(args.node, str(modules / "@stoplight/prism-cli/dist/index.js"), str(description), log)
        try:
            runs(args.maestro, forge, tmp)
        finally:
            forge.close()


def can_fail(forge):
    """A request that does not fit is refused: otherwise all of this would prove nothing."""
    path = "/repos/octo/project/issues/7/comments"
    for wrong in ({"text": "no body"}, {"body": 7}):
        status, _ = forge.ask("POST", path, {"Content-Type": "application/json"}, json.dumps(wrong).encode())
        if status != 422:
            raise SystemExit(f"forge: the mock server takes {wrong}: {status}")


def runs(maestro, forge, tmp):
    can_fail(forge)
    met = set()

    def step(what, job, *flags, **how):
        print(f"== {what}", flush=True)
        done = job.run(*flags, **how)
        met.update(fits(forge, what))
        return done

    job = Job(maestro, forge, tmp / "a")
    report = str(tmp / "report.json")
    step("a run with its comment, a check, the branch and a pull request", job, "--open-pr", "--json", report,
         "--set", "forge.checks=true")
    job.git("branch", "-D", "maestro/feature")
    step("the pull request is there", job, "--open-pr", "--fresh", agent='echo other > "$MAESTRO_TASK.txt"')
    step("a failing run with 120 annotations", job, "--fresh", "--set", "forge.checks=true",
         "--set", "validation.gates.g.run=cp junit.in junit.xml; false",
         "--set", "validation.gates.g.report=junit.xml", code=1)

    job.event({"ref": "refs/heads/topic", "repository": {"full_name": "octo/project"}})
    job.env |= {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/topic", "GITHUB_SHA": job.head}
    # As a runner checks out: no branch, so the pull request goes into the repository's default one.
    job.git("checkout", "-q", "--detach")
    job.git("branch", "-D", "maestro/feature")
    step("a push without a branch, whose pull request is found by its commit", job, "--open-pr", "--fresh",
         agent='echo more > "$MAESTRO_TASK.txt"')

    print("== publish, in a second process")
    job.maestro_ci("publish", report, "--comment", "7")
    met.update(fits(forge, "publish"))

    key = tmp / "app.pem"
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", str(key), "2048"], check=True, capture_output=True)
    job.env |= {"MAESTRO_CI_APP_ID": "4711", "MAESTRO_CI_APP_KEY": str(key)}
    del job.env["GITHUB_TOKEN"]
    step("an app", job, "--fresh", "--comment", "7")

    refused(maestro, forge, tmp)
    missing = OPERATIONS - met
    if missing:
        raise SystemExit(f"forge: no run made {sorted(missing)}")
    print(f"all {len(met)} operations were made, and every request fits GitHub's description")


def refused(maestro, forge, tmp):
    """The refusals that the description itself knows change no exit code, and cost one try for each text: the comment as
    the run goes on, where there was time for it, and the last one."""
    post = ("post", COMMENTS)
    job = Job(maestro, forge, tmp / "b")
    for code in (403, 404, 410, 422):
        print(f"== a forge that refuses the comment with {code}")
        forge.refusals[post] = code
        done = job.run("--fresh")
        seen = [r for r in forge.take() if r["operation"] == post]
        texts = {r["body"]["body"] for r in seen}
        if {r["status"] for r in seen} != {code} or len(seen) > len(texts) or len(seen) > 2:
            tries = [r["status"] for r in seen]
            raise SystemExit(f"forge: {code}: one try a text is wanted: {tries} for {len(texts)} texts\n{done.stderr}")
        if f"status {code}" not in done.stderr + done.stdout:
            raise SystemExit(f"forge: {code} is not told:\n{done.stderr}")
        del forge.refusals[post]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
