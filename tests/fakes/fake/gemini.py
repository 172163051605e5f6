"""gemini -o stream-json."""
import json
import os
import signal
import sys

from .base import SERVER_FAULTS, Agent, clock, emit, fail, need, spread, stdin_text

MAX_TURNS = ("Reached max session turns for this session. Increase the number of turns by specifying maxSessionTurns in "
             "settings.json.")


class Gemini(Agent):
    api, keeps_partial_usage = "gemini", True

    def setup(self):
        o = self.options
        home = os.environ.get("GEMINI_CLI_HOME") or need("HOME")
        try:
            with open(os.path.join(home, ".gemini/settings.json")) as file:
                settings = json.load(file)
        except (OSError, ValueError):
            settings = {}
        if settings.get("security", {}).get("auth", {}).get("selectedType") != "gemini-api-key":
            fail("Invalid auth method selected", 41)
        if "--skip-trust" not in o and os.environ.get("GEMINI_CLI_TRUST_WORKSPACE") != "true":
            fail("Gemini CLI is not running in a trusted directory.", 55)
        self.base = os.environ.get("GOOGLE_GEMINI_BASE_URL", "https://generativelanguage.googleapis.com")
        self.key = need("GEMINI_API_KEY")
        self.model = spread(o, "-m") or spread(o, "--model") or "gemini-2.5-pro"
        self.max_turns = settings.get("model", {}).get("maxSessionTurns", -1)
        self.patience = settings.get("general", {}).get("maxAttempts", 10)
        asked = spread(o, "-p") or spread(o, "--prompt") or " ".join(self.words)
        self.prompt = "\n\n".join(filter(None, [stdin_text(), asked])) or fail("No input provided via stdin.", 42)
        self.yolo = "yolo" in o.get("--approval-mode", []) or "-y" in o or "--yolo" in o
        relaunch(os.environ.get("GEMINI_CLI_NO_RELAUNCH") != "true", ignores_signals=True)

    def event(self, kind, **more):
        emit({"type": kind, "timestamp": clock(), **more})

    def begin(self):
        self.event("init", session_id=self.session, model=self.model)
        self.event("message", role="user", content=self.prompt)

    def retry(self, fault, tries):
        if fault.kind == "cut":
            return 2.0 ** (tries - 1) if tries <= 3 else None
        again = fault.status in (429,) + SERVER_FAULTS or fault.kind in ("network", "idle")
        return min(5 * 2 ** (tries - 1), 30) if again and tries < self.patience else None

    def retrying(self, fault, tries, delay):
        print(f"Attempt {tries} failed with status {fault.status}. Retrying with backoff...", file=sys.stderr)
        self.partial(fault)

    def partial(self, fault):
        for text in fault.turn.text if fault.turn else []:
            self.event("message", role="assistant", content=text, delta=True)

    def said(self, turn):
        for text in turn.text:
            self.event("message", role="assistant", content=text, delta=True)

    def before_tool(self, call):
        self.event("tool_use", tool_name=call["name"], tool_id=call["id"], parameters=call["input"])

    def denied(self, call):
        return "deny" in self.wishes or not self.yolo

    def tool_done(self, call, out, code):
        if code is None:
            self.before_tool(call)
        more = {"output": out} if call["name"] == "run_shell_command" and code is not None else {}
        if code is None:
            more["error"] = {"type": "policy_violation", "message": out}
        self.event("tool_result", tool_id=call["id"], status="error" if code is None else "success", **more)

    def over_after(self, turn):
        if 0 <= self.max_turns <= self.turns:
            error = {"type": "FatalTurnLimitedError", "message": MAX_TURNS}
            self.last_word(lambda _: self.result("error", error=error), None)
            return 53

    def result(self, status, **more):
        t = self.reported
        said = t["output"] - t["thought"]
        stats = {"total_tokens": t["input"] + t["output"], "input_tokens": t["input"], "output_tokens": said,
                 "cached": t["cached"], "input": t["input"] - t["cached"]}
        self.event("result", status=status, **more, stats={
            **stats, "duration_ms": 1, "tool_calls": self.tool_calls, "models": {self.model: stats}})
        return 0

    def end(self, turn):
        return self.result("success")

    def failed(self, fault):
        self.partial(fault)
        if fault.kind == "cut":
            self.event("error", severity="error", message="Model stream ended without a finish reason.")
            return self.result("error")
        self.result("error", error={"type": "unknown", "message": f"[API Error: {fault.body or fault.message}]"})
        return (fault.status & 255) or 1

    def terminate(self):
        os._exit(0)


def relaunch(wanted, ignores_signals):
    """A launcher that waits for a child of the same group; gemini's does not hear signals, qwen's dies by them."""
    child = os.fork() if wanted else 0
    if child:
        if ignores_signals:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
