"""A world for one run: a repository with an approved PRD, a home, a work directory, and what must hold afterwards."""
import json
import os
import pathlib
import signal
import subprocess
import time

# Time that the end of a run may take, beyond what the scenario needs.
PATIENCE = 150
TASK = """
### T-{number:03}: write {file}
- Requirements: FR-1
- Role: {role}{more}

Write the file. fake-file: {file}
"""
PRD = """---
prd:
  feature_name: greeting
  status: approved
priorities:
  requirements:
    - id: FR-1
      text: "Write the files"
      priority: P1
---

# PRD: greeting

## Tasks
"""


def prd(tasks):
    """A PRD with these tasks: (role, file, further lines)."""
    numbered = enumerate(tasks, 1)
    return PRD + "".join(TASK.format(number=n, role=role, file=file, more=more) for n, (role, file, more) in numbered)


class World:
    """One repository and everything around it. `files` makes more of its files from the directory for canaries."""

    def __init__(self, directory, options, tasks=(("general", "hello.txt", ""),), files=None):
        self.top = pathlib.Path(directory)
        self.options = options
        self.repo, self.out = self.top / "repo", self.top / "out"
        for name in ("repo", "home", "work", "out"):
            (self.top / name).mkdir(parents=True)
        # What code of the repository leaves where it runs.
        self.canaries = self.top / "canaries"
        self.canaries.mkdir()
        for path, text in {"prd.md": prd(tasks), **(files(self.canaries) if files else {})}.items():
            (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / path).write_text(text)
        identity = ["-c", "user.name=user", "-c", "user.email=user@localhost"]
        for args in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "A PRD"]):
            self.git(*args)
        self.process = None

    def git(self, *args):
        done = subprocess.run(["git", *args], cwd=self.repo, env=self.env(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def env(self, **more):
        """Nothing of ours but the agents' PATH; keys that are none; no way out but the loopback."""
        modules = self.options.modules
        return {
            "HOME": str(self.top / "home"), "LANG": "C.UTF-8",
            "PATH": f"{modules}/.bin:{modules}/node/bin:/usr/local/bin:/usr/bin:/bin",
            "MAESTRO_CI_WORK_DIR": str(self.top / "work"),
            "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_API_KEY": "placeholder", "OPENAI_API_KEY": "placeholder", "GEMINI_API_KEY": "placeholder",
            **more,
        }

    def start(self, args, urls):
        """Starts maestro-ci; `urls` are the model API's base addresses, by variable."""
        command = [self.options.maestro, *args, "--json", str(self.out / "report.json"), "-v"]
        # Agents get no proxy of ours unless they are given it: then nothing they call but the gateway answers.
        command += ["--set", 'sandbox.env_pass=["HTTPS_PROXY"]']
        (self.out / "report.json").unlink(missing_ok=True)
        with open(self.out / "log", "a") as log:
            log.write(f"$ {' '.join(map(str, command))}\n")
            log.flush()
            self.process = subprocess.Popen(command, cwd=self.repo, env=self.env(**urls), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        return self.process

    def wait(self):
        """The exit code; a run that hangs is killed and has none."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            return None

    def sessions(self):
        return [path.parent for path in (self.repo / ".flow/maestro/sessions").glob("*/journal.jsonl")]

    def report(self):
        """The session's report, made again from its journal."""
        done = subprocess.run([self.options.maestro, "report", "--format", "json"], cwd=self.repo, env=self.env(),
                              capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def events(self, kind):
        """The journal's events of one kind."""
        lines = [json.loads(line) for session in self.sessions() for line in (session / "journal.jsonl").open()]
        return [line["event"] for line in lines if line.get("event", {}).get("type") == kind]

    def has_file(self, file="hello.txt", branch="maestro/greeting"):
        """True where the result branch has what the model wrote."""
        done = subprocess.run(["git", "show", f"{branch}:{file}"], cwd=self.repo, env=self.env(), capture_output=True)
        return done.returncode == 0 and done.stdout == b"hello maestro\n"

    def survivors(self):
        """Processes of this world that are alive: by where they work, what they were called with, or their mark."""
        return [f"{pid} {line}" for pid, line in processes() if self.owns(pid, line)]

    def deserted(self, limit):
        """Waits until no process is left, for so many seconds at most. Returns how long that took and who is left."""
        started = time.monotonic()
        while True:
            left, waited = self.survivors(), time.monotonic() - started
            if not left or waited >= limit:
                return waited, left
            time.sleep(0.02)

    def owns(self, pid, line):
        top = str(self.top)
        if top in line:
            return True
        try:
            where = os.readlink(f"/proc/{pid}/cwd")
            environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        marks = [b"MAESTRO_SESSION=" + session.name.encode() for session in self.sessions()]
        return where == top or where.startswith(top + "/") or any(m in environ.split(b"\0") for m in marks)

    def canaries_left(self):
        """Names that code of the repository left."""
        return sorted(path.name for path in self.canaries.iterdir())

    def leftovers(self):
        """Workspaces that are still there."""
        return sorted(path.name for path in (self.top / "work").iterdir())


def processes():
    """Pid and command line of everything that lives; we ourselves and the dead are left out."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line:
            yield int(entry.name), line
