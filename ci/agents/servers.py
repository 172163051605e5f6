"""The model servers as processes, and what they counted: the project's own and, where it is there, an older one."""
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

# Loopback only: a proxy of the environment has no say.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Count:
    """What a server was asked and what it billed, in maestro-ci's terms: input and output with all their parts."""

    requests: int
    tokens: int

    def __add__(self, other):
        return Count(self.requests + other.requests, self.tokens + other.tokens)


class Own:
    """`cargo run --example model-server`: a bill that differs from call to call."""

    name = "model-server"

    def __init__(self, binary, directory):
        command = [binary, "--log", str(directory / "model-server.log")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/")
        self.base = self.process.stdout.readline().strip()

    def url(self, scenario, run):
        return f"{self.base}/s/{scenario}/{run}"

    def told(self, scenario, run):
        """Everything that the server says about a run."""
        with DIRECT.open(f"{self.url(scenario, run)}/count", timeout=10) as answer:
            return json.load(answer)

    def count(self, scenario, run):
        told = self.told(scenario, run)
        return Count(told["requests"], told["input"] + told["output"])

    def close(self):
        self.process.kill()
        self.process.wait()


class Older:
    """A scripted server that stands beside the repository. Its tools write below a directory of its own."""

    name = "model_server.py"
    # Input and output of each call, with what a cache held or took and with what was thought.
    BILL = {"anth": 1000 + 300 + 200 + 50, "resp": 1000 + 50, "chat": 1000 + 50, "gem": 1000 + 50 + 7}
    # The requests that it answers with an error, or not at all, before it goes on.
    REFUSED = {"e429x2": 2, "e529x2": 2, "e401": 10**9, "close": 10**9}

    def __init__(self, script, directory, port):
        self.scratch, self.log = directory / "scratch", directory / "older.jsonl"
        self.scratch.mkdir(parents=True)
        self.log.touch()
        env = {**os.environ, "SCRATCH": str(self.scratch), "SERVER_LOG": str(self.log),
               "SERVER_BODIES": str(directory / "bodies")}
        command = [sys.executable, str(script), str(port)]
        with open(directory / "older.log", "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/")
        self.base = f"http://127.0.0.1:{port}"
        self.wait()

    def wait(self):
        for _ in range(100):
            try:
                DIRECT.open(self.base, timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("agents: the older model server does not answer")

    def url(self, scenario, run):
        (self.scratch / run).mkdir(exist_ok=True)
        return f"{self.base}/s/{scenario}/{run}"

    def count(self, scenario, run):
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        calls = [line["api"] for line in lines
                 if (line.get("sc"), line.get("run")) == (scenario, run) and line.get("api") in self.BILL]
        billed = calls[self.REFUSED.get(scenario, 0):]
        return Count(len(calls), sum(self.BILL[api] for api in billed))

    def close(self):
        self.process.kill()
        self.process.wait()
