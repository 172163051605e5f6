"""The tools that the fakes offer to the model, and doing what it asks."""
import os
import re
import subprocess


def do_call(agent, call):
    """What the tool says, and whether it went well."""
    name, given = call["name"], call["input"]
    path = os.path.join(os.getcwd(), given.get("file_path") or given.get("filePath") or given.get("path") or "x")
    try:
        if name in ("Write", "write_file", "write"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(given["content"])
            return f"File created successfully at: {path}", 0
        if name in ("Edit", "replace", "edit"):
            pick = lambda a, b: given[a] if a in given else given[b]
            return replace(path, pick("old_string", "oldString"), pick("new_string", "newString"))
        if name == "apply_patch":
            return patch(given["input"])
        command = given.get("command", given.get("cmd"))
        if command is None:
            return f"no tool {name}", 1
        return shell(agent, command if isinstance(command, str) else command[-1])
    except (OSError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}", 1


def replace(path, old, new):
    with open(path) as file:
        text = file.read()
    if old not in text:
        return "the old text is not in the file", 1
    with open(path, "w") as file:
        file.write(text.replace(old, new, 1))
    return f"The file {path} has been updated successfully.", 0


def patch(text):
    path, old, new, adds = None, [], [], False
    for line in text.splitlines():
        found = re.match(r"\*\*\* (Add|Update) File: (.*)", line)
        if found:
            adds, path = found[1] == "Add", found[2]
        elif line[:1] in ("+", " ") and path:
            new.append(line[1:] + "\n")
            old += [] if line[0] == "+" else [line[1:] + "\n"]
        elif line[:1] == "-":
            old.append(line[1:] + "\n")
    if not adds:
        return replace(path, "".join(old), "".join(new))
    with open(path, "w") as file:
        file.write("".join(new))
    return f"Success. Updated the following files:\nA {path}", 0


def shell(agent, command):
    """As every real CLI does: a session of its own, which outlives the agent."""
    agent.tool = subprocess.Popen(["/bin/bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, start_new_session=True)
    out, _ = agent.tool.communicate()
    code, agent.tool = agent.tool.returncode, None
    return out.decode("utf-8", "replace").rstrip("\n"), code
