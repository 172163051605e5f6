"""qwen -o stream-json."""
import json
import os
import sys
import threading
import time

from .base import SERVER_FAULTS, Agent, emit, fail, ident, need, spread, stdin_text
from .gemini import MAX_TURNS, relaunch


class Qwen(Agent):
    api = "chat"

    def setup(self):
        o = self.options
        self.base = spread(o, "--openai-base-url") or os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        self.key = spread(o, "--openai-api-key") or need("OPENAI_API_KEY")
        self.model = spread(o, "-m") or spread(o, "--model") or os.environ.get("OPENAI_MODEL") or "qwen3-coder-plus"
        self.extra = spread(o, "--append-system-prompt") or ""
        self.mode = "yolo" if "-y" in o or "--yolo" in o else spread(o, "--approval-mode") or "default"
        try:
            with open(os.path.join(need("HOME"), ".qwen/settings.json")) as file:
                settings = json.load(file)
        except (OSError, ValueError):
            settings = {}
        self.patience = settings.get("model", {}).get("generationConfig", {}).get("maxRetries", 29)
        asked = spread(o, "-p") or spread(o, "--prompt") or " ".join(self.words)
        self.prompt = "\n\n".join(filter(None, [stdin_text(), asked])) or fail("No input provided via stdin.", 1)
        self.max_turns = int(spread(o, "--max-session-turns") or 10**9)
        self.max_tools = int(spread(o, "--max-tool-calls") or 10**9)
        relaunch(True, ignores_signals=False)
        if "--max-wall-time" in o:
            limit = spread(o, "--max-wall-time")
            seconds = float(limit.rstrip("smh")) * {"m": 60, "h": 3600}.get(limit[-1], 1)
            timer = threading.Timer(seconds, lambda: self.abort(f"wall-time budget of {limit} exceeded"))
            timer.daemon = True
            timer.start()

    def abort(self, why):
        """No result: the reason is on standard error only."""
        print(f"Run aborted: {why}.", file=sys.stderr, flush=True)
        os._exit(55)

    def event(self, kind, subtype=None, **more):
        named = {"subtype": subtype} if subtype else {}
        emit({"type": kind, **named, "uuid": ident(), "session_id": self.session, **more})

    def begin(self):
        self.event("system", "init", cwd=os.getcwd(), tools=["edit", "run_shell_command", "write_file"], mcp_servers=[],
                   model=self.model, permission_mode=self.mode, slash_commands=[], qwen_code_version="0.24.4", agents=[])
        self.event("stream_event", parent_tool_use_id=None,
                   event={"type": "goal_state", "goal_state": {"v": 2, "goal": None, "activity": "idle"}})

    def retry(self, fault, tries):
        if fault.kind == "cut":
            return min(2.0**tries, 16) if tries <= 4 else None
        again = fault.status in (429,) + SERVER_FAULTS or fault.kind in ("network", "idle")
        return min(0.5 * 2 ** (tries - 1), 5) if again and tries <= self.patience else None

    def message(self, blocks, stop, usage):
        self.event("assistant", parent_tool_use_id=None, message={
            "id": ident(), "type": "message", "role": "assistant", "model": self.model, "content": blocks,
            "stop_reason": stop, "usage": usage})

    def said(self, turn):
        u = turn.usage
        blocks = [{"type": "text", "text": "".join(turn.text)}] if turn.text else []
        blocks += [{"type": "tool_use", "id": c["id"], "name": c["name"], "input": c["input"]} for c in turn.calls]
        self.message(blocks, "tool_use" if turn.calls else None, {
            "input_tokens": u["input"], "output_tokens": u["output"], "cache_read_input_tokens": u["cached"],
            "total_tokens": u["input"] + u["output"]})

    def denied(self, call):
        return "deny" in self.wishes or self.mode == "default"

    def over(self, turn):
        if self.tool_calls + len(turn.calls) > self.max_tools:
            seen = self.tool_calls + len(turn.calls)
            self.abort(f"tool-call budget of {self.max_tools} exceeded (--max-tool-calls); observed {seen}")

    def over_after(self, turn):
        if self.turns >= self.max_turns:
            print(MAX_TURNS, file=sys.stderr)
            return 53

    def tool_done(self, call, out, code):
        if code is None:
            self.denials.append({"tool_name": call["name"], "tool_use_id": call["id"], "tool_input": call["input"]})
        result = {"type": "tool_result", "tool_use_id": call["id"], "is_error": code is None, "content": out}
        self.event("user", parent_tool_use_id=None, message={"role": "user", "content": [result]})

    def result(self, subtype, is_error, **more):
        t, took = self.reported, int((time.time() - self.started) * 1000)
        usage = {"input_tokens": t["input"], "output_tokens": t["output"], "cache_read_input_tokens": t["cached"]}
        if t["input"]:
            usage["total_tokens"] = t["input"] + t["output"]
        self.event("result", subtype, is_error=is_error, duration_ms=took, duration_api_ms=took,
                   num_turns=self.turns, **more, usage=usage, permission_denials=self.denials)
        return int(is_error)

    def end(self, turn):
        return self.result("success", False, result="".join(turn.text))

    def failed(self, fault):
        text = f"[API Error: {fault.status or ''} {fault.message}]"
        self.message([{"type": "text", "text": text}], None, {"input_tokens": 0, "output_tokens": 0})
        return self.result("error_during_execution", True, error={"message": text})
