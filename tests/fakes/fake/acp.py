"""An agent that speaks ACP 1 on its standard streams, with the words of claude-agent-acp."""
import json
import os
import queue
import sys
import threading

from . import misbehave
from .api import ZERO, Fault
from .base import TOOLS, Agent, emit, fail, need
from .tools import do_call

MODES = [("default", "Always ask"), ("acceptEdits", "Accept edits"), ("plan", "Plan"), ("bypassPermissions", "Bypass")]
OPTIONS = [("allow-once", "allow_once"), ("allow-with-updates", "allow_always"), ("reject", "reject_once")]
KINDS = {"Write": "edit", "Edit": "edit", "Bash": "execute"}


class Cancelled(Exception):
    pass


class Acp(Agent):
    def setup(self):
        for api, base, key in [("anthropic", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
                               ("chat", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
                               ("gemini", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY")]:
            if os.environ.get(base):
                self.api, self.base, self.key = api, os.environ[base], need(key)
                break
        else:
            fail("no base URL is set", 1)
        self.model = {"chat": "gpt-5.5", "gemini": "gemini-2.5-pro"}.get(self.api, "claude-sonnet-4-5")
        self.mode, self.next_id, self.answers, self.cancelled = "default", 0, {}, threading.Event()

    def run(self):
        self.setup()
        self.signals()
        for line in iter(sys.stdin.readline, ""):
            try:
                message = json.loads(line)
            except ValueError:
                emit({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})
                continue
            if "method" in message:
                self.asked(message)
            elif message.get("id") in self.answers:
                self.answers[message["id"]].put(message)
        self.kill_tool()
        misbehave.at_end(self)
        return 0

    def asked(self, message):
        method, params = message["method"], message.get("params") or {}
        if method == "initialize":
            self.answer_to(message, protocolVersion=1, authMethods=[], agentInfo={"name": "fake-acp", "version": "0.100.0"},
                           agentCapabilities={"loadSession": False, "promptCapabilities": {"image": False}})
        elif method == "session/new":
            os.chdir(params["cwd"])
            modes = [{"id": id_, "name": name, "description": name} for id_, name in MODES]
            self.answer_to(message, sessionId=self.session, modes={"currentModeId": self.mode, "availableModes": modes})
        elif method == "session/set_mode":
            self.mode = params["modeId"]
            self.answer_to(message)
            self.update("current_mode_update", currentModeId=self.mode)
        elif method == "session/prompt":
            self.prompt = "\n".join(part.get("text", "") for part in params["prompt"])
            threading.Thread(target=self.prompted, args=(message,), daemon=True).start()
        elif method == "session/cancel":
            self.cancelled.set()
            self.kill_tool()
            for waiting in self.answers.values():
                waiting.put({})
        elif "id" in message:
            emit({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": f"no method {method}"}})

    def answer_to(self, message, **result):
        emit({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def update(self, what, /, **more):
        emit({"jsonrpc": "2.0", "method": "session/update", "params": {
            "sessionId": self.session, "update": {"sessionUpdate": what, **more}}})

    def prompted(self, message):
        self.wishes = misbehave.wished(self.prompt)
        self.total = dict(ZERO)
        try:
            misbehave.under_way(self)
            self.converse()
            stop = "end_turn"
        except Cancelled:
            stop = "cancelled"
        except Fault as fault:
            code = fault.status if self.api == "gemini" and fault.status else -32603
            emit({"jsonrpc": "2.0", "id": message["id"], "error": {
                "code": code, "message": f"API Error: {fault.status or ''} {fault.message}"}})
            return
        t = self.reported
        usage = {"inputTokens": t["input"] - t["cached"] - t["write"], "outputTokens": t["output"],
                 "cachedReadTokens": t["cached"], "cachedWriteTokens": t["write"], "totalTokens": t["input"] + t["output"]}
        if "no_result" in self.wishes:
            os._exit(0)
        self.answer_to(message, stopReason=stop, usage=usage)
        if "exit1_complete" in self.wishes:
            os._exit(1)

    def converse(self):
        history = [("user", self.prompt)]
        while True:
            turn = self.ask(history, TOOLS["acp"].split())
            self.update("usage_update", used=turn.usage["input"] + turn.usage["output"], size=200000)
            for text in turn.text:
                self.update("agent_message_chunk", content={"type": "text", "text": text}, messageId=turn.id)
            if self.cancelled.is_set():
                raise Cancelled
            if not turn.calls and "loop" not in self.wishes:
                return
            results = self.answer(turn)
            history += [("turn", turn), results]

    def before_tool(self, call):
        if self.cancelled.is_set():
            raise Cancelled

    def denied(self, call):
        self.update("tool_call", toolCallId=call["id"], name=call["name"], rawInput=call["input"], status="pending",
                    title=call["name"], kind=KINDS.get(call["name"], "other"), content=[], locations=[])
        if "deny" in self.wishes:
            return True
        if self.mode == "bypassPermissions" or self.mode == "acceptEdits" and KINDS.get(call["name"]) == "edit":
            return False
        return self.permission(call) not in ("allow_once", "allow_always")

    def permission(self, call):
        """The kind of the option that the client chose."""
        id_, self.next_id = self.next_id, self.next_id + 1
        self.answers[id_] = queue.Queue()
        emit({"jsonrpc": "2.0", "id": id_, "method": "session/request_permission", "params": {
            "sessionId": self.session, "options": [{"optionId": o, "name": o, "kind": kind} for o, kind in OPTIONS],
            "toolCall": {"toolCallId": call["id"], "status": "pending", "title": call["name"], "rawInput": call["input"],
                         "kind": KINDS.get(call["name"], "other")}}})
        outcome = (self.answers[id_].get().get("result") or {}).get("outcome") or {}
        if self.cancelled.is_set():
            raise Cancelled
        return dict(OPTIONS).get(outcome.get("optionId")) if outcome.get("outcome") == "selected" else None

    def tool_done(self, call, out, code):
        if self.cancelled.is_set():
            raise Cancelled
        self.update("tool_call_update", toolCallId=call["id"], status="failed" if code is None or code else "completed",
                    rawOutput=out, content=[{"type": "content", "content": {"type": "text", "text": out}}])

    def retry(self, fault, tries):
        again = fault.status in (429, 500, 502, 503, 529) or fault.kind == "network"
        return 0.5 * 2.0 ** (tries - 1) if again and tries <= 3 else None

    def terminate(self):
        self.kill_tool()
        os._exit(143)
