"""Misbehaviour on demand: what has to be told in a CLI's own words and at a moment of its own stream. What any process
can do to its machine the tests of the walls and of the warden do with a shell."""
import glob
import hashlib
import json
import os
import re
import sys
import time


def wished(prompt):
    """`name` or `name=value`, with commas between, behind `fake:`."""
    wishes = {}
    for part in re.findall(r"(?:^|[^\w-])fake:[ \t]*([\w=,./~-]+)", prompt):
        for wish in part.split(","):
            name, _, value = wish.partition("=")
            wishes[name] = value
    wishes.pop("", None)
    return wishes


def note(name, what):
    try:
        with open(f"{name}.json", "w") as file:
            json.dump(what, file)
    except OSError as error:
        print(f"fake agent: {name}: {error}", file=sys.stderr)


def sleep_on():
    while True:
        time.sleep(3600)


def at_start(agent):
    """Before anything is printed."""
    if "exit0_nothing" in agent.wishes:
        os._exit(0)
    if "silent" in agent.wishes:
        sleep_on()


def under_way(agent):
    """After the first event, before the first call of the model."""
    for name, act in ACTS.items():
        if name in agent.wishes:
            act(agent.wishes[name])


def at_end(agent):
    """After the last event."""
    if "hang_after_result" in agent.wishes:
        sleep_on()


def flood_line(megabytes):
    """One line that no reader can hold."""
    os.write(1, b'{"type":"assistant","text":"')
    block = b"x" * (1 << 20)
    for _ in range(int(megabytes)):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.write(b'"}\n')
    sys.stdout.buffer.flush()


def invalid_utf8(_):
    """Bytes that are no text, an event with some in it, and a line that clears a terminal."""
    os.write(1, b'\xff\xfe\x00\x80 no text at all\n{"type":"assistant","text":"\xc3\x28 \xed\xa0\x80"}\n\x1b[2J\r\n')


def leak(mark):
    """Says its own arguments and environment, and where in /proc it finds words that begin with the mark. Nothing else is kept.
    Of `digests` the environment's values are told as their SHA-256: a value itself would be a secret in a change."""
    pattern, found = re.compile(re.escape(mark or "canary").encode() + rb"[\w.-]*"), []
    for place in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(place, "rb") as file:
                found += [[place, word.decode()] for word in set(pattern.findall(file.read(1 << 20)))]
        except OSError:
            pass
    try:
        os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))
        memory_opens = True
    except OSError:
        memory_opens = False
    env = dict(os.environ)
    if mark == "digests":
        env = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in env.items()}
    said = {"argv": sys.argv[1:], "env": env, "found": found, "parent_memory_opens": memory_opens}
    print(json.dumps(said), file=sys.stderr)
    note("leak", said)


ACTS = {"flood_line": flood_line, "invalid_utf8": invalid_utf8, "leak": leak}
