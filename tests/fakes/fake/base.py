"""What every fake CLI shares: flags, output, and the loop that asks the model and does what it says."""
import json
import os
import signal
import sys
import time
import uuid

from . import misbehave
from .api import ZERO, Fault, call_model
from .tools import do_call

VERSIONS = {"claude": "2.1.329 (Claude Code)", "codex": "codex-cli 0.169.0", "gemini": "0.61.0",
            "opencode": "1.18.33", "qwen": "0.24.4", "acp": "0.100.0"}
# What each CLI takes: switches, options with a value, and what our adapter must give ("a|b": one of; "a=v": with v).
FLAGS = {
    "claude": ("-p --print --verbose --strict-mcp-config --no-session-persistence --include-partial-messages --bare "
               "--dangerously-skip-permissions --disable-slash-commands",
               "--output-format --permission-mode --model --setting-sources --max-turns --max-budget-usd --agents "
               "--append-system-prompt --append-system-prompt-file --system-prompt --json-schema --allowedTools "
               "--disallowedTools --tools --settings --mcp-config --add-dir --session-id --fallback-model --effort",
               "-p|--print --output-format=stream-json --verbose"),
    "codex": ("--json --skip-git-repo-check --ephemeral --dangerously-bypass-approvals-and-sandbox --full-auto "
              "--ignore-user-config --ignore-rules --trust --dangerously-bypass-hook-trust",
              "-c --config -m --model -s --sandbox --output-schema -o --output-last-message -C --cd --add-dir --color "
              "-p --profile --enable --disable",
              "--json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox|--sandbox|-s"),
    "gemini": ("--skip-trust -y --yolo --debug",
               "-p --prompt -o --output-format -m --model --approval-mode -e --extensions --allowed-mcp-server-names "
               "--include-directories --allowed-tools --policy --admin-policy",
               "-o=stream-json|--output-format=stream-json"),
    "qwen": ("--bare --safe-mode -y --yolo",
             "-p --prompt -o --output-format -m --model --auth-type --approval-mode --max-session-turns --max-wall-time "
             "--max-tool-calls --json-schema --append-system-prompt --system-prompt --openai-base-url "
             "--openai-api-key -e --extensions --allowed-mcp-server-names --core-tools --exclude-tools",
             "-o=stream-json|--output-format=stream-json --auth-type=openai"),
    "opencode": ("--pure --auto --print-logs", "--format -m --model --agent --title --dir -f --file --variant --log-level",
                 "--format=json"),
}
TOOLS = {"claude": "Bash Edit Read Write", "codex": "exec_command apply_patch", "qwen": "edit run_shell_command write_file",
         "gemini": "replace run_shell_command write_file", "opencode": "bash edit write", "acp": "Bash Edit Write"}


def fail(message, code=2):
    """Ends as a CLI does that was called in a wrong way."""
    print(f"fake agent: {message}", file=sys.stderr)
    sys.exit(code)


def emit(event):
    try:
        sys.stdout.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(141)


def ident():
    return str(uuid.uuid4())


def clock():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z"


def parse(argv, name):
    switches, valued, needs = (part.split() for part in FLAGS[name])
    options, words, rest = {}, [], iter(argv)
    for arg in rest:
        key, eq, value = arg.partition("=")
        if arg == "--":
            words += rest
        elif arg in switches:
            options[arg] = [""]
        elif key in valued:
            value = value if eq else next(rest, None)
            if value is None:
                fail(f"{key} needs a value")
            options.setdefault(key, []).append(value)
        elif arg.startswith("-") and arg != "-":
            fail(f"unknown option {arg}")
        else:
            words.append(arg)
    for need in needs:
        pairs = [way.partition("=") for way in need.split("|")]
        if not any(k in options and (not eq or options[k][-1] == v) for k, eq, v in pairs):
            fail(f"missing option {need}")
    return options, words


SERVER_FAULTS = (408, 409, 500, 502, 503, 504, 529)


def need(name):
    """A variable that must be set."""
    return os.environ.get(name) or fail(f"{name} is not set", 1)


def stdin_text():
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip()


def spread(values, key):
    """The last value of an option, or nothing."""
    return values.get(key, [None])[-1]


class Agent:
    """One run. A subclass knows a CLI's set-up, its events, its retries and its last words."""

    api, keeps_partial_usage = "anthropic", False

    def __init__(self, name, argv):
        self.name, self.argv, self.wishes = name, argv, {}
        self.session, self.started = ident(), time.time()
        self.total, self.requests, self.turns, self.tool_calls, self.denials = dict(ZERO), 0, 0, 0, []
        self.tool, self.streams, self.idle, self.patience = None, True, None, 10
        self.base = self.key = self.model = self.prompt = self.extra = ""

    # A subclass has: setup, begin, said, tool_done, end, failed, retry; the rest where it needs them.
    def before_tool(self, call):
        pass

    def retrying(self, fault, tries, delay):
        pass

    def step_done(self, turn):
        pass

    def over(self, turn):
        """The exit code where a limit ends the run before the turn's tools are run."""

    def over_after(self, turn):
        """The same after they were run."""

    def terminate(self):
        """What SIGTERM does; the default ends the process and leaves the tool."""

    def interrupt(self):
        self.terminate()

    @property
    def system(self):
        rule = "Do what is asked with the tools at hand, say so when it is done, and stop. "
        return f"You are a coding agent ({self.name}).\nWorking directory: {os.getcwd()}\n{self.extra}\n" + rule * 90

    @property
    def reported(self):
        """Usage as the CLI says it."""
        if "usage_lies" in self.wishes:
            return {name: amount // 100 for name, amount in self.total.items()}
        return self.total

    def delay(self, seconds):
        time.sleep(seconds * float(self.wishes.get("delay") or 0.05))

    def run(self):
        self.options, self.words = parse(self.argv, self.name)
        self.setup()
        self.signals()
        self.wishes = misbehave.wished(self.prompt)
        misbehave.at_start(self)
        self.begin()
        misbehave.under_way(self)
        code = self.work()
        misbehave.at_end(self)
        return 1 if "exit1_complete" in self.wishes else code

    def signals(self):
        def ended(number, _frame):
            (self.terminate if number == signal.SIGTERM else self.interrupt)()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, ended)
        signal.signal(signal.SIGINT, ended)

    def kill_tool(self):
        if self.tool is not None:
            os.killpg(self.tool.pid, signal.SIGKILL)

    def work(self):
        history = [("user", self.prompt)]
        try:
            while True:
                turn = self.ask(history, TOOLS[self.name].split())
                self.said(turn)
                code = self.over(turn)
                if code is not None:
                    return code
                if not turn.calls and "loop" not in self.wishes:
                    return self.last_word(self.end, turn)
                history += [("turn", turn), self.answer(turn)]
                self.step_done(turn)
                code = self.over_after(turn)
                if code is not None:
                    return code
        except Fault as fault:
            return self.last_word(self.failed, fault)

    def last_word(self, say, what):
        if "no_result" in self.wishes:
            return 0
        return say(what)

    def answer(self, turn):
        results = []
        for call in turn.calls:
            self.tool_calls += 1
            if self.denied(call):
                out, code = f"Permission to use {call['name']} was denied.", None
            else:
                self.before_tool(call)
                out, code = do_call(self, call)
            self.tool_done(call, out, code)
            results.append((call, out))
        return ("results", results) if results else ("user", "Go on.")

    def denied(self, _call):
        return "deny" in self.wishes

    def ask(self, history, tools):
        """Asks until there is an answer or the CLI gives up."""
        tries = 0
        while True:
            try:
                self.requests += 1
                turn = call_model(self, history, tools)
                self.add(turn)
                self.turns += 1
                self.streams = True
                return turn
            except Fault as fault:
                tries += 1
                if fault.turn and self.keeps_partial_usage:
                    self.add(fault.turn)
                delay = self.retry(fault, tries)
                if delay is None:
                    raise
                delay = max(delay, fault.after)
                self.retrying(fault, tries, delay)
                self.delay(delay)

    def add(self, turn):
        for name, amount in turn.usage.items():
            self.total[name] += amount
