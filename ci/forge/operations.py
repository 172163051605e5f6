"""Which operations of GitHub's API maestro-ci uses: each has to be met by a run, and nothing else may be.

The description of the whole API is 13 MB; `trim` keeps these operations and what they refer to.
"""

import json
from pathlib import Path

OPERATIONS = {
    ("get", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("post", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("patch", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("get", "/repos/{owner}/{repo}/commits/{commit_sha}/pulls"),
    ("get", "/repos/{owner}/{repo}/commits/{ref}/check-runs"),
    ("post", "/repos/{owner}/{repo}/check-runs"),
    ("patch", "/repos/{owner}/{repo}/check-runs/{check_run_id}"),
    ("get", "/repos/{owner}/{repo}"),
    ("get", "/repos/{owner}/{repo}/pulls"),
    ("post", "/repos/{owner}/{repo}/pulls"),
    ("patch", "/repos/{owner}/{repo}/pulls/{pull_number}"),
    ("get", "/repos/{owner}/{repo}/installation"),
    ("post", "/app/installations/{installation_id}/access_tokens"),
    ("get", "/app"),
    ("get", "/user"),
}


def trim(whole: Path, trimmed: Path) -> None:
    """Writes the description with nothing but our operations, and what they refer to."""
    source = json.loads(whole.read_text())
    paths: dict[str, dict] = {}
    for method, path in sorted(OPERATIONS):
        item = source["paths"][path]
        shared = {key: item[key] for key in ("parameters",) if key in item}
        paths.setdefault(path, shared)[method] = item[method]
    kept: dict[str, dict] = {}
    left = list(references(paths))
    while left:
        kind, name = left.pop()
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = source["components"][kind][name]
            left.extend(references(kept[kind][name]))
    whole_again = {"openapi": source["openapi"], "info": source["info"], "paths": paths, "components": kept}
    trimmed.write_text(json.dumps(whole_again))


def references(value):
    """Every (kind, name) of `#/components/KIND/NAME` in a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            kind, name = value["$ref"].removeprefix("#/components/").split("/", 1)
            yield kind, name
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def operation_of(method: str, path: str) -> tuple[str, str] | None:
    """Which of our operations a request is."""
    parts = path.strip("/").split("/")
    for wanted, pattern in OPERATIONS:
        names = pattern.strip("/").split("/")
        fits = len(names) == len(parts) and all(n.startswith("{") or n == p for n, p in zip(names, parts))
        if fits and wanted == method.lower():
            return wanted, pattern
    return None
