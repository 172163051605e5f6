"""The forge that a run sees: Prism, and before it a server that keeps the books.

It is an Enterprise server, so that the API has a base path. Prism knows no state, so two things are added: who the token is
(GraphQL, which the description does not cover), and lists that are empty until something was made.
"""

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from operations import operation_of

BASE = "/api/v3"
PULLS = "/repos/{owner}/{repo}/pulls"
CHECKS = "/repos/{owner}/{repo}/commits/{ref}/check-runs"
PASSED_ON = ("accept", "authorization", "content-type", "user-agent", "x-github-api-version")


class Forge:
    """The books and the two servers."""

    def __init__(self, node, prism, description, log):
        self.seen: list[dict] = []
        # To the token of a workflow, who it is stays closed.
        self.refusals = {("get", "/user"): 403}
        # What a run finds where it looks before it makes something; Prism's own examples are always full.
        self.lists = {PULLS: [], CHECKS: {"total_count": 0, "check_runs": []}}
        handler = type("Handler", (Handler,), {"forge": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        port = free_port()
        self.prism_url = f"http://127.0.0.1:{port}"
        command = [node, prism, "mock", "-h", "127.0.0.1", "-p", str(port), description]
        self.prism = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.wait_until_up()

    @property
    def api(self):
        return f"http://127.0.0.1:{self.server.server_port}{BASE}"

    def wait_until_up(self):
        for _ in range(300):
            if self.prism.poll() is not None:
                raise SystemExit("forge: prism ended before it answered")
            try:
                urllib.request.urlopen(f"{self.prism_url}/", timeout=2).close()
            except urllib.error.HTTPError:
                return  # it knows no such path, and says so
            except OSError:
                time.sleep(0.1)
        raise SystemExit("forge: prism did not answer within 30 s")

    def ask(self, method, path, headers, body):
        """What Prism says to a request: status and document."""
        request = urllib.request.Request(self.prism_url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                return error.code, json.loads(text or b"null")
            except ValueError:
                return error.code, text.decode(errors="replace")

    def close(self):
        self.prism.terminate()
        self.prism.wait()
        self.server.shutdown()

    def take(self):
        """What was asked since the last time."""
        seen, self.seen = self.seen, []
        return seen


class Handler(BaseHTTPRequestHandler):
    """One request: asked of Prism, and put into the books with Prism's answer."""

    forge: Forge
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        path, _, query = self.path.partition("?")
        if path == "/api/graphql":
            self.answer(200, {"data": {"viewer": {"login": "github-actions[bot]"}}})
            return
        inside = path.removeprefix(BASE)
        operation = operation_of(self.command, inside) if path.startswith(BASE) else None
        status, answer = self.ask(inside + ("?" + query if query else ""), body, operation)
        self.forge.seen.append({"method": self.command, "path": path, "operation": operation, "status": status,
                                "answer": answer, "body": json.loads(body) if body else None})
        if operation == ("post", PULLS) and status == 201:
            self.forge.lists[PULLS] = [made(answer, json.loads(body))]
        if self.command == "GET" and status == 200 and operation[1] in self.forge.lists:
            answer = self.forge.lists[operation[1]]
        self.answer(status, answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

    def ask(self, path, body, operation):
        headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
        if operation in self.forge.refusals:
            headers["Prefer"] = f"code={self.forge.refusals[operation]}"
        return self.forge.ask(self.command, path, headers, body)

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def made(example, asked):
    """The pull request of Prism's example, between the branches that were asked for."""
    example["head"]["ref"], example["base"]["ref"] = asked["head"], asked["base"]
    example["head"]["repo"]["full_name"] = "octo/project"
    return example


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
