"""opencode run --format json. No final event: the end of the process is the end of the run."""
import json
import sys
import time
import uuid

from .api import Fault, call_model
from .base import SERVER_FAULTS, Agent, emit, fail, need, spread, stdin_text

# By package, and by the name of a provider that needs none; the last word is the model where none is chosen.
APIS = {"@ai-sdk/openai-compatible": "chat", "@ai-sdk/openai": "responses", "@ai-sdk/anthropic": "anthropic",
        "@ai-sdk/google": "gemini"}
BUILT_IN = {"anthropic": ("@ai-sdk/anthropic", "claude-sonnet-4-5"), "openai": ("@ai-sdk/openai", "gpt-5.5"),
            "google": ("@ai-sdk/google", "gemini-2.5-pro")}


class Opencode(Agent):
    def setup(self):
        if self.words[:1] != ["run"]:
            fail("this fake knows `opencode run` only")
        try:
            config = json.loads(need("OPENCODE_CONFIG_CONTENT"))
        except ValueError as error:
            fail(f"OPENCODE_CONFIG_CONTENT is not JSON: {error}", 1)
        name = spread(self.options, "-m") or spread(self.options, "--model") or config.get("model")
        if not name:
            known = [p for p in BUILT_IN if p in config.get("provider", {})] or fail("No model is configured", 1)
            name = f"{known[0]}/{BUILT_IN[known[0]][1]}"
        provider, _, self.model = name.partition("/")
        found = config.get("provider", {}).get(provider)
        if not found:
            fail(f"Model not found: {name}", 1)
        self.api = APIS[found.get("npm") or BUILT_IN.get(provider, ["@ai-sdk/openai-compatible"])[0]]
        self.base, self.key = found["options"]["baseURL"], found["options"].get("apiKey", "")
        if self.key.startswith("{env:"):
            self.key = need(self.key[5:-1])
        if self.api in ("anthropic", "gemini"):
            self.base = self.base.removesuffix("/v1").removesuffix("/v1beta")
        self.cost_of = found.get("models", {}).get(self.model, {}).get("cost", {})
        self.permission = config.get("permission", {})
        self.prompt = "\n".join(filter(None, [" ".join(self.words[1:]), stdin_text()]))
        if not self.prompt:
            fail("You must provide a message or a command", 1)
        self.session, self.step = f"ses_{uuid.uuid4().hex[:26]}", ""

    def event(self, kind, part=None, **more):
        if part is not None:
            own = {"id": f"prt_{uuid.uuid4().hex[:26]}", "messageID": self.step, "sessionID": self.session}
            more["part"] = {**own, **part}
        emit({"type": kind, "timestamp": int(time.time() * 1000), "sessionID": self.session, **more})

    def begin(self):
        """The title of the session is asked for in a call that no event tells of, where none was given."""
        if "--title" in self.options:
            return
        try:
            call_model(self, [("user", "Generate a title for this conversation")], [])
        except Fault:
            pass

    def retry(self, fault, tries):
        if fault.kind == "cut":
            return 0.4
        again = fault.status in (429,) + SERVER_FAULTS or fault.kind in ("network", "idle")
        return min(2.0**tries, 30) if again else None

    def retrying(self, fault, tries, delay):
        if fault.kind == "cut":
            self.said(fault.turn)
            self.finish("unknown", fault.turn.usage)

    def said(self, turn):
        self.step = f"msg_{uuid.uuid4().hex[:26]}"
        self.event("step_start", {"snapshot": uuid.uuid4().hex, "type": "step-start"})
        now = int(time.time() * 1000)
        if turn.text:
            self.event("text", {"type": "text", "text": "".join(turn.text), "time": {"start": now, "end": now}})

    def denied(self, call):
        rules = self.permission if isinstance(self.permission, dict) else {"*": self.permission}
        kind = "bash" if call["name"] == "bash" else "edit"
        return "deny" in self.wishes or rules.get(kind, rules.get("*", "allow")) != "allow"

    def tool_done(self, call, out, code):
        now = int(time.time() * 1000)
        state = {"status": "completed", "input": call["input"], "output": out, "metadata": {"truncated": False},
                 "title": call["name"], "time": {"start": now, "end": now}}
        if call["name"] == "bash" and code is not None:
            state["metadata"] = {"output": out, "exit": code, "truncated": False}
        if code is None:
            print(f"! permission requested: {call['name']}; auto-rejecting", file=sys.stderr)
            state = {"status": "error", "input": call["input"], "error": "The user rejected permission to use this "
                     "specific tool call.", "time": {"start": now, "end": now}}
        self.event("tool_use", {"type": "tool", "tool": call["name"], "callID": call["id"], "state": state})

    def step_done(self, turn):
        self.finish("tool-calls" if turn.calls else "stop", turn.usage)

    def finish(self, reason, u):
        u = u if "usage_lies" not in self.wishes else {k: v // 100 for k, v in u.items()}
        fresh, said = u["input"] - u["cached"] - u["write"], u["output"] - u["thought"]
        price = lambda name: self.cost_of.get(name, 0)
        cost = (fresh * price("input") + u["cached"] * price("cache_read") + u["write"] * price("cache_write")
                + u["output"] * price("output")) / 1e6
        tokens = {"input": fresh, "output": said, "reasoning": u["thought"],
                  "cache": {"write": u["write"], "read": u["cached"]}}
        if u["input"]:
            tokens = {"total": u["input"] + u["output"], **tokens}
        self.event("step_finish", {"reason": reason, "type": "step-finish", "tokens": tokens, "cost": cost})

    def end(self, turn):
        self.finish("stop", turn.usage)
        return 0

    def failed(self, fault):
        if fault.status:
            data = {"message": fault.message, "statusCode": fault.status, "isRetryable": False, "responseBody": fault.body}
            self.event("error", error={"name": "APIError", "data": data})
        else:
            self.event("error", error={"name": "UnknownError", "data": {"message": fault.message}})
        return 1
