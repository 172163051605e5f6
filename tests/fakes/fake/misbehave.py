"""Misbehaviour on demand, for tests of the walls and the warden. Everything here is bounded: in processes, in bytes and
in time (LIFE_S), so that a test that fails leaves nothing behind for long. What was tried is written to
`<misbehaviour>.json` in the working directory."""
import glob
import json
import os
import re
import signal
import sys
import time

LIFE_S = 60
DAEMON = "trap '' TERM INT HUP QUIT; i=0; while [ $i -lt %d ]; do i=$((i+1)); sleep 1; done"


def wished(text, mark=""):
    """`name` or `name=value`, with commas between, behind the mark."""
    wishes = {}
    for part in re.findall(rf"(?:^|[^\w-]){mark}[ \t]*([\w=,./~-]+)", text):
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
    if "ignore_term" in agent.wishes:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if "silent" in agent.wishes:
        sleep_on()


def under_way(agent):
    """After the first event, before the first call of the model."""
    for name, act in ACTS.items():
        if name in agent.wishes:
            act(agent.wishes[name])
    if "hang" in agent.wishes or agent.wishes.keys() - {"delay"} == {"ignore_term"}:
        sleep_on()


def at_end(agent):
    """After the last event."""
    if "hang_after_result" in agent.wishes:
        sleep_on()


def flood_stdout(megabytes):
    line = b'{"type":"noise","text":"' + b"n" * 4000 + b'"}\n'
    for _ in range(int(megabytes or 300) * 250):
        os.write(1, line)


def flood_line(megabytes):
    os.write(1, b'{"type":"assistant","text":"')
    block = b"x" * (1 << 20)
    for _ in range(int(megabytes or 500)):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.write(b'"}\n')
    sys.stdout.buffer.flush()


def invalid_utf8(_):
    os.write(1, b'\xff\xfe\x00\x80 no text at all\n{"type":"assistant","text":"\xc3\x28 \xed\xa0\x80"}\n\x1b[2J\r')


def daemon(seconds):
    """Leaves the session and the group, ignores signals, closes what it had open, wipes its environment."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 1024)
    script = DAEMON % int(seconds or LIFE_S)
    os.execve("/bin/sh", ["sh", "-c", script, f"fake-daemon in {os.getcwd()}"], {})


def moving_target(seconds):
    """A process that lives in a new pid and a new session every millisecond."""
    end = time.monotonic() + int(seconds or LIFE_S)
    child = os.fork()
    if child:
        return
    os.closerange(0, 1024)
    while time.monotonic() < end:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(0.001)
    os._exit(0)


def fork_bomb(processes):
    """Forks until it may not or has its number; the children only sleep."""
    number, error = 0, None
    while number < int(processes or 1000):
        try:
            child = os.fork()
        except OSError as refused:
            error = str(refused)
            break
        if not child:
            os.closerange(0, 1024)
            time.sleep(LIFE_S)
            os._exit(0)
        number += 1
    note("fork_bomb", {"processes": number, "error": error})


def memory(megabytes):
    """Four processes that hold 300 MB each."""
    for _ in range(4):
        if not os.fork():
            os.closerange(0, 1024)
            held = bytearray(int(megabytes or 300) << 20)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(LIFE_S)
            os._exit(0)
    time.sleep(2)
    note("memory", {"processes": 4, "megabytes": int(megabytes or 300)})


def big_file(megabytes):
    written, error, block = 0, None, os.urandom(1 << 20)
    try:
        with open("big_file.bin", "wb", buffering=0) as file:
            while written < int(megabytes or 2048):
                file.write(block)
                written += 1
    except OSError as refused:
        error = str(refused)
    note("big_file", {"megabytes": written, "error": error})


def signal_parent(name, number):
    parent, error = os.getppid(), None
    try:
        if parent > 1:
            os.kill(parent, number)
    except OSError as refused:
        error = str(refused)
    note(name, {"parent": parent, "error": error})
    time.sleep(1)


def write_outside(path):
    tried = {}
    home = os.path.expanduser("~")
    for place in [path] if path else ["../outside.txt", "/tmp/maestro-outside.txt", "/var/tmp/maestro-outside.txt",
                                      f"{home}/../outside.txt", "/etc/maestro-outside.txt"]:
        try:
            with open(place, "w") as file:
                file.write("written from within\n")
            tried[place] = "written"
        except OSError as refused:
            tried[place] = refused.strerror
    note("write_outside", tried)


def read_env(_):
    note("read_env", dict(os.environ))


def leak(mark):
    """Says its own environment, and where in /proc it finds words that begin with the mark. Nothing else is kept."""
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
    said = {"env": dict(os.environ), "found": found, "parent_memory_opens": memory_opens}
    print(json.dumps(said), file=sys.stderr)
    note("leak", said)


ACTS = {
    "daemon": daemon, "moving_target": moving_target, "flood_stdout": flood_stdout, "flood_line": flood_line,
    "invalid_utf8": invalid_utf8, "fork_bomb": fork_bomb, "memory": memory, "big_file": big_file,
    "kill_parent": lambda _: signal_parent("kill_parent", signal.SIGKILL),
    "stop_parent": lambda _: signal_parent("stop_parent", signal.SIGSTOP),
    "write_outside": write_outside, "read_env": read_env, "leak": leak,
}
