#!/usr/bin/env python3
"""A fake coding agent: takes the arguments and the environment of a real CLI, calls a real model API over HTTP, does
what the model asks for, prints the CLI's own event stream and ends with its exit code. Its name, or its first argument,
says which one it is: claude, codex, gemini, opencode, qwen, acp. See README.md for misbehaviour on demand."""
import os
import sys

sys.dont_write_bytecode = True

from fake.acp import Acp
from fake.base import VERSIONS
from fake.claude import Claude
from fake.codex import Codex
from fake.gemini import Gemini
from fake.opencode import Opencode
from fake.qwen import Qwen

CLIS = {"claude": Claude, "codex": Codex, "gemini": Gemini, "opencode": Opencode, "qwen": Qwen, "acp": Acp}
# Programs that speak ACP under a name of their own.
ACP_NAMES = {"claude-agent-acp": "acp", "codex-acp": "acp"}


def main():
    name, argv = os.path.basename(sys.argv[0]), sys.argv[1:]
    name = ACP_NAMES.get(name, name)
    if name not in CLIS:
        if not argv or argv[0] not in CLIS:
            sys.exit(f"usage: agent.py {'|'.join(CLIS)} ...")
        name, argv = argv[0], argv[1:]
    if argv in (["--version"], ["-v"], ["-V"]):
        print(VERSIONS[name])
        return 0
    if "--acp" in argv or argv[:1] == ["acp"]:
        name = "acp"
    return CLIS[name](name, argv).run()


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
