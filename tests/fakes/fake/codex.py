"""codex exec --json."""
import os
import re
import sys
import tomllib

from .base import SERVER_FAULTS, Agent, emit, fail, need, spread, stdin_text


class Codex(Agent):
    api = "responses"

    def setup(self):
        if self.words[:1] != ["exec"]:
            fail("this fake knows `codex exec` only")
        o = self.options
        if len(o.get("-m", []) + o.get("--model", [])) > 1:
            fail("the argument '--model <MODEL>' cannot be used multiple times")
        home = need("CODEX_HOME")
        if not os.path.isdir(home):
            fail(f"CODEX_HOME {home} does not exist", 1)
        config = {}
        if "--ignore-user-config" not in o and os.path.exists(os.path.join(home, "config.toml")):
            with open(os.path.join(home, "config.toml"), "rb") as file:
                config = tomllib.load(file)
        for pair in o.get("-c", []) + o.get("--config", []):
            self.put(config, *pair.split("=", 1))
        provider = (config.get("model_providers") or {}).get(config.get("model_provider"), {})
        if provider.get("wire_api", "responses") != "responses":
            fail(f"wire_api {provider['wire_api']} is no longer supported", 1)
        self.base = provider.get("base_url") or config.get("openai_base_url") or need("OPENAI_BASE_URL")
        self.key = need(provider["env_key"]) if "env_key" in provider else os.environ.get("CODEX_API_KEY") or need("OPENAI_API_KEY")
        self.model = spread(o, "-m") or spread(o, "--model") or config.get("model") or "gpt-5.5"
        self.extra = config.get("developer_instructions", "")
        self.again = provider.get("request_max_retries", 4), provider.get("stream_max_retries", 5)
        idle = provider.get("stream_idle_timeout_ms")
        self.idle = idle / 1000 if idle else None
        word = " ".join(self.words[1:])
        if word == "-" or not word:
            self.prompt = stdin_text() or fail("No prompt provided via stdin.", 1)
        else:
            print("Reading additional input from stdin...", file=sys.stderr)
            self.prompt = "\n".join(filter(None, [word, stdin_text()]))
        self.items = 0

    @staticmethod
    def put(config, key, value):
        try:
            value = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            pass
        *path, last = key.strip().split(".")
        for part in path:
            config = config.setdefault(part, {})
        config[last] = value

    def item(self, done, kind, **more):
        emit({"type": f"item.{'completed' if done else 'started'}", "item": {"id": f"item_{self.items}", "type": kind, **more}})
        self.items += done

    def begin(self):
        emit({"type": "thread.started", "thread_id": self.session})
        if self.model != "gpt-5.5":
            self.item(True, "error", message=f"Model metadata for `{self.model}` not found. Defaulting to fallback metadata; "
                      "this can degrade performance and cause issues.")
        emit({"type": "turn.started"})

    def retry(self, fault, tries):
        request, stream = self.again
        if fault.status in SERVER_FAULTS or fault.kind == "network":
            return 0.2 * 2 ** min(tries - 1, 3) if tries < (request + 1) * (stream + 1) else None
        if fault.status == 401 or fault.kind in ("cut", "garbage", "idle"):
            return 0.2 * 2 ** (tries - 1) if tries <= stream else None
        return None

    @staticmethod
    def words_for(fault):
        if fault.status == 429:
            return "exceeded retry limit, last status: 429 Too Many Requests"
        if fault.status:
            return f"unexpected status {fault.status}: {fault.message}"
        why = "stream closed before response.completed" if fault.kind == "cut" else fault.message
        return f"stream disconnected before completion: {why}"

    def retrying(self, fault, tries, delay):
        request, stream = self.again
        quick = fault.status in SERVER_FAULTS or fault.kind == "network"
        number = tries // (request + 1) if quick else tries
        if not quick or tries % (request + 1) == 0:
            emit({"type": "error", "message": f"Reconnecting... {number}/{stream} ({self.words_for(fault)})"})

    def said(self, turn):
        if turn.text:
            self.item(True, "agent_message", text="".join(turn.text))

    def before_tool(self, call):
        if call["name"] != "apply_patch":
            self.item(False, "command_execution", command=f"/bin/bash -lc '{self.command(call)}'", aggregated_output="",
                      exit_code=None, status="in_progress")

    @staticmethod
    def command(call):
        return call["input"].get("cmd", call["input"].get("command"))

    def tool_done(self, call, out, code):
        if code is None:
            return
        status = "failed" if code else "completed"
        if call["name"] != "apply_patch":
            self.item(True, "command_execution", command=f"/bin/bash -lc '{self.command(call)}'", aggregated_output=out,
                      exit_code=code, status=status)
            return
        kinds = {"Add": "add", "Update": "update", "Delete": "delete"}
        found = re.findall(r"\*\*\* (Add|Update|Delete) File: (.*)", call["input"]["input"])
        changes = [{"path": os.path.join(os.getcwd(), path), "kind": kinds[kind]} for kind, path in found]
        self.item(False, "file_change", changes=changes, status="in_progress")
        self.item(True, "file_change", changes=changes, status=status)

    def end(self, turn):
        t = self.reported
        emit({"type": "turn.completed", "usage": {
            "input_tokens": t["input"], "cached_input_tokens": t["cached"], "cache_write_input_tokens": 0,
            "output_tokens": t["output"], "reasoning_output_tokens": t["thought"]}})
        return 0

    def failed(self, fault):
        emit({"type": "error", "message": self.words_for(fault)})
        emit({"type": "turn.failed", "error": {"message": self.words_for(fault)}})
        return 1

    def terminate(self):
        self.kill_tool()

    def interrupt(self):
        self.kill_tool()
        os._exit(1)
