"""claude -p --output-format stream-json."""
import os
import sys
import time

from .base import SERVER_FAULTS, Agent, clock, emit, fail, ident, need, spread, stdin_text


class Claude(Agent):
    keeps_partial_usage = True

    def setup(self):
        o = self.options
        self.base = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
        self.key = os.environ.get("ANTHROPIC_AUTH_TOKEN") or need("ANTHROPIC_API_KEY")
        self.model = spread(o, "--model") or "claude-sonnet-4-5"
        self.extra = spread(o, "--append-system-prompt") or ""
        self.mode = spread(o, "--permission-mode") or "default"
        if "--dangerously-skip-permissions" in o:
            self.mode = "bypassPermissions"
        if self.mode == "bypassPermissions" and os.geteuid() == 0 and os.environ.get("IS_SANDBOX") != "1":
            fail("--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons", 1)
        home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(need("HOME"), ".claude")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "fake.json"), "w") as file:
            file.write("{}")
        self.patience = int(os.environ.get("CLAUDE_CODE_MAX_RETRIES", "10"))
        self.prompt = " ".join(self.words) or stdin_text() or fail("Input must be provided through stdin or as a prompt", 1)

    def event(self, kind, **more):
        emit({"type": kind, **more, "session_id": self.session, "uuid": ident()})

    def begin(self):
        self.event("system", subtype="init", cwd=os.getcwd(), tools=["Bash", "Edit", "Read", "Write"], mcp_servers=[],
                   model=self.model, permissionMode=self.mode, slash_commands=[], apiKeySource="ANTHROPIC_API_KEY",
                   claude_code_version="2.1.329", output_style="default", agents=["general-purpose"], skills=[],
                   plugins=[])

    def retry(self, fault, tries):
        if fault.kind in ("cut", "garbage"):
            if fault.kind == "garbage":
                print(fault.message, file=sys.stderr)
            self.streams = False
            return 0.0 if tries <= 10 else None
        if fault.status in (400, 413):
            return 0.01 if tries <= 5 else None
        again = fault.status in (401, 429) + SERVER_FAULTS or fault.kind in ("network", "idle")
        return min(0.5 * 2 ** (tries - 1), 38) if again and tries <= self.patience else None

    def retrying(self, fault, tries, delay):
        word = {401: "authentication_failed", 429: "rate_limit", 529: "overloaded"}.get(fault.status, "server_error")
        if fault.status != 400 and fault.kind not in ("cut", "garbage"):
            self.event("system", subtype="api_retry", attempt=tries, max_retries=self.patience, error=word,
                       retry_delay_ms=int(delay * 1000), error_status=fault.status or None)

    def said(self, turn):
        if "--include-partial-messages" in self.options:
            for e in turn.events:
                self.event("stream_event", event=e, parent_tool_use_id=None, api_message_id=turn.id)
        blocks = [{"type": "text", "text": "".join(turn.text)}] if turn.text else []
        blocks += [{"type": "tool_use", "id": c["id"], "name": c["name"], "input": c["input"]} for c in turn.calls]
        for block in blocks:
            self.message(turn.id, self.model, block, getattr(turn, "start", turn.raw))

    def message(self, ident_, model, block, usage, **more):
        self.event("assistant", parent_tool_use_id=None, timestamp=clock(), **more, message={
            "id": ident_, "type": "message", "role": "assistant", "model": model, "content": [block],
            "stop_reason": None, "stop_sequence": None, "usage": usage, "context_management": None})

    def denied(self, call):
        allowed = "".join(self.options.get("--allowedTools", []))
        free = self.mode in ("bypassPermissions", "dontAsk") or call["name"] in allowed
        return "deny" in self.wishes or not (free or self.mode == "acceptEdits" and call["name"] != "Bash")

    def tool_done(self, call, out, code):
        result = {"tool_use_id": call["id"], "type": "tool_result", "content": out}
        decision = {"decision": "accept", "source": "config", "reason_type": "mode"}
        if code is None:
            self.denials.append({"tool_name": call["name"], "tool_use_id": call["id"], "tool_input": call["input"]})
            self.event("system", subtype="permission_denied", tool_name=call["name"], tool_use_id=call["id"], message=out)
            decision = {"decision": "reject", "source": "config"}
        if code != 0:
            result["is_error"] = True
        self.event("user", message={"role": "user", "content": [result]}, parent_tool_use_id=None, timestamp=clock(),
                   tool_use_result=out, tool_result_meta=[{"id": call["id"], "permission_decision": decision}])

    @property
    def cost(self):
        t = self.total
        return ((t["input"] - t["cached"] - t["write"]) * 3 + t["write"] * 3.75 + t["cached"] * 0.3 + t["output"] * 15) / 1e6

    def over(self, turn):
        budget = spread(self.options, "--max-budget-usd")
        if budget and self.cost > float(budget):
            return self.last_word(lambda _: self.result(
                "error_max_budget_usd", "budget_exhausted", True, self.turns, without=turn.usage,
                errors=[f"Reached maximum budget (${budget})"]), None)

    def over_after(self, turn):
        turns = spread(self.options, "--max-turns")
        if turns and self.turns >= int(turns):
            return self.last_word(lambda _: self.result(
                "error_max_turns", "max_turns", True, self.turns + 1,
                errors=[f"Reached maximum number of turns ({turns})"]), None)

    def result(self, subtype, reason, is_error, turns, without=None, **more):
        t = dict(self.reported)
        main = {k: v - (without or {}).get(k, 0) for k, v in t.items()}
        fresh = lambda u: u["input"] - u["cached"] - u["write"] if u["input"] > 0 else u["input"]
        by_model = {"inputTokens": fresh(t), "outputTokens": t["output"], "cacheReadInputTokens": t["cached"],
                    "cacheCreationInputTokens": t["write"], "webSearchRequests": 0, "costUSD": self.cost,
                    "contextWindow": 200000, "maxOutputTokens": 32000, "thinkingTokens": 0}
        self.event("result", subtype=subtype, is_error=is_error, duration_ms=self.ms(), duration_api_ms=self.ms(),
                   num_turns=turns, total_cost_usd=self.cost, permission_denials=self.denials, terminal_reason=reason,
                   usage={"input_tokens": fresh(main), "cache_creation_input_tokens": main["write"],
                          "cache_read_input_tokens": main["cached"], "output_tokens": main["output"],
                          "service_tier": "standard"},
                   modelUsage={self.model: by_model} if self.total["input"] else {}, **more)
        return int(is_error)

    def ms(self):
        return int((time.time() - self.started) * 1000)

    def end(self, turn):
        return self.result("success", "completed", False, self.turns, api_error_status=None, stop_reason="end_turn",
                           result="".join(turn.text))

    def failed(self, fault):
        text = f"API Error: {fault.status or ''} {fault.message}"
        self.message(ident(), "<synthetic>", {"type": "text", "text": text}, {
            "input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
            error={401: "authentication_failed", 429: "rate_limit"}.get(fault.status, "server_error"),
            is_api_error_message=True, api_error_status=fault.status or None, api_error_type=fault.type)
        return self.result("success", "api_error", True, 1, api_error_status=fault.status or None,
                           api_error_type=fault.type, stop_reason="stop_sequence", result=text)

    def terminate(self):
        self.kill_tool()
        os._exit(143)

    def interrupt(self):
        self.kill_tool()
        self.result("error_during_execution", "aborted_tools", True, self.turns, errors=["interrupted"])
        os._exit(0)
