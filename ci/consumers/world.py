"""A repository with an approved PRD, everything a run needs around it, and where the run's reports go."""
import os
import pathlib
import signal
import subprocess
import time

# The reports: the flag, the file below the run's directory, and its name in the session's directory.
REPORTS = {
    "junit": "junit.xml",
    "json": "report.json",
    "markdown": "final-report.md",
    "html": "report.html",
    "sarif": "report.sarif",
}
# Files for a run on GitHub, as its runner names them.
RUNNER_FILES = {"GITHUB_OUTPUT": "github_output", "GITHUB_STEP_SUMMARY": "step_summary.md"}


class World:
    """One repository. `out` is where a run's reports are, its exit code and its log with them."""

    def __init__(self, maestro, top, out, files):
        self.maestro, self.out = maestro, pathlib.Path(out)
        self.top = pathlib.Path(top)
        self.repo = self.top / "repo"
        for name in ("repo", "home", "work"):
            (self.top / name).mkdir(parents=True)
        self.out.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / path).write_text(text)
        identity = ["-c", "user.name=user", "-c", "user.email=user@localhost"]
        for args in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "A PRD"]):
            subprocess.run(["git", *args], cwd=self.repo, env=self.env(), check=True)

    def env(self):
        """Nothing of the caller's; a job on GitHub that has no token and no way to anybody."""
        return {
            "HOME": str(self.top / "home"), "LANG": "C.UTF-8", "PATH": os.environ["PATH"],
            "MAESTRO_CI_WORK_DIR": str(self.top / "work"), "CI": "true", "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "owner/repository", "GITHUB_RUN_ID": "1", "GITHUB_SERVER_URL": "https://forge.invalid",
            "GITHUB_API_URL": "http://127.0.0.1:9", **{name: str(self.out / file) for name, file in RUNNER_FILES.items()},
        }

    def command(self, args):
        reports = [word for flag, file in REPORTS.items() for word in (f"--{flag}", str(self.out / file))]
        return [self.maestro, "--prd", "prd.md", *args, *reports]

    def start(self, args):
        """Starts a run. A second one in the same world goes on with the first one's session."""
        with open(self.out / "log", "ab") as log:
            return subprocess.Popen(self.command(args), cwd=self.repo, env=self.env(), stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True)

    def end(self, process, limit):
        """Waits for the end, keeps the exit code, and fetches what stands in the session's directory only."""
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise SystemExit(f"{self.out.name}: the run did not end in {limit} s\n{self.log_tail()}") from None
        if not self.journal():
            raise SystemExit(f"{self.out.name}: exit code {code} and no session\n{self.log_tail()}")
        (self.out / "exit_code").write_text(f"{code}\n")
        self.fetch({"comment.md": "comment.md"})
        return code

    def fetch(self, files):
        """Copies files of the session's directory to `out`."""
        for name, copy in files.items():
            if (self.session() / name).is_file():
                (self.out / copy).write_bytes((self.session() / name).read_bytes())

    def session(self):
        (session,) = [path.parent for path in (self.repo / ".flow/maestro/sessions").glob("*/journal.jsonl")]
        return session

    def journal(self):
        journals = list((self.repo / ".flow/maestro/sessions").glob("*/journal.jsonl"))
        return journals[0].read_text(errors="replace") if journals else ""

    def wait_for(self, process, event, times, limit=60):
        """Waits until the journal holds an event so many times."""
        until = time.monotonic() + limit
        while self.journal().count(f'"{event}"') < times:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.out.name}: never came to {times} × {event}\n{self.log_tail()}")
            time.sleep(0.02)

    def rebuilt(self, form):
        """A report made again from the journal alone. On GitHub it would be guarded against the runner that reads it."""
        env = {name: value for name, value in self.env().items() if not name.startswith("GITHUB_")}
        done = subprocess.run([self.maestro, "report", "--format", form], cwd=self.repo, env=env, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{self.out.name}: report --format {form}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def log_tail(self):
        return (self.out / "log").read_text(errors="replace")[-3000:]

    def survivors(self):
        """Processes that belong to this world and are alive, by where they work or what they were called with."""
        top, found = str(self.top), []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = os.readlink(entry / "cwd")
            except OSError:
                continue
            if entry.name.isdigit() and line and (top in line or where.startswith(top)):
                found.append(f"{entry.name} {line}")
        return found

    def deserted(self, limit):
        """Who is left of this world after so many seconds."""
        until = time.monotonic() + limit
        while (left := self.survivors()) and time.monotonic() < until:
            time.sleep(0.02)
        return left

    def leftovers(self):
        """Workspaces that are left."""
        return sorted(str(path) for path in (self.top / "work").iterdir())


def interrupt(process):
    process.send_signal(signal.SIGINT)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
