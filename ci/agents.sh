#!/usr/bin/env bash
# The real coding agents at pinned versions, each through maestro-ci with its gateway and its walls on, against the
# project's own model server on the loopback. Every agent meets every scenario; then four work at once. Writes
# docs/agents.md, and fails where a cell is not what it has to be. An agent that cannot be installed is a failure too.
#
# Needs bash, git, python3 3.11, npm with a registry of packages, and cargo; no key and no model. Nothing is called but
# the registry and the loopback.
#
# Usage: ci/agents.sh [--agent NAME]… [--scenario NAME]… [--no-parallel] [--keep DIR]
#   With a selection the table is printed and docs/agents.md stays as it is. --keep leaves every run's files in DIR,
#   which has to be empty.
# Environment: MAESTRO_AGENTS_CACHE   where the agents are installed (target/agents)
#              MAESTRO_BIN, MODEL_SERVER_BIN   binaries to use instead of building them
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")

# PROGRAM PACKAGE VERSION. Node is a package too, so that the machine's own does not decide.
pins=(
    "node node 22.23.3"
    "claude @anthropic-ai/claude-code 2.1.329"
    "codex @openai/codex 0.169.0"
    "gemini @google/gemini-cli 0.61.0"
    "opencode opencode-ai 1.18.33"
    "qwen @qwen-code/qwen-code 0.24.4"
    "claude-agent-acp @agentclientprotocol/claude-agent-acp 0.100.0"
)

step() { printf '== %s\n' "$*" >&2; }
die() { printf 'agents: %s\n' "$*" >&2; exit 1; }

cache=${MAESTRO_AGENTS_CACHE:-$root/target/agents}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
modules=$cache/node_modules
tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

# What a program says is its version, in a home that is thrown away and with nobody to call.
version_of() {
    mkdir -p "$tmp/home"
    env -i HOME="$tmp/home" PATH="$modules/.bin:$modules/node/bin:/usr/local/bin:/usr/bin:/bin" TERM=dumb CI=1 \
        HTTPS_PROXY=http://127.0.0.1:9 DISABLE_AUTOUPDATER=1 OPENCODE_DISABLE_AUTOUPDATE=1 \
        timeout 60 "$1" --version < /dev/null 2> /dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1
}
is_pinned() { [ -x "$modules/.bin/$1" ] && [ "$(version_of "$1" || true)" = "$2" ]; }

# Node first: npm takes an older version of a package than the one asked for where the running node does not suit it.
install() {
    local log=$tmp/npm.log
    (cd "$cache" && PATH="$modules/node/bin:$PATH" npm install --no-audit --no-fund --save-exact --foreground-scripts \
        "$@") > "$log" 2>&1 || { cat "$log" >&2; die "npm could not install $*"; }
}

# Some npm hold back the scripts that put the programs in place; what is missing is then put there by hand.
put_in_place() {
    local package=$1 script=$2
    (cd "$modules/$package" && PATH="$modules/node/bin:$PATH" node "$script") > "$tmp/place.log" 2>&1 \
        || { cat "$tmp/place.log" >&2; die "$package: its $script failed"; }
}

step "the agents, in $cache"
[ -f "$cache/package.json" ] || echo '{"name":"agents","private":true}' > "$cache/package.json"
missing=()
for pin in "${pins[@]}"; do
    read -r program package version <<< "$pin"
    if ! is_pinned "$program" "$version"; then
        if [ "$program" = node ]; then install "$package@$version"; else missing+=("$package@$version"); fi
    fi
done
if [ ${#missing[@]} -gt 0 ]; then
    install "${missing[@]}"
fi
[ -n "$(version_of node || true)" ] || put_in_place node installArchSpecificPackage.js
[ -n "$(version_of claude || true)" ] || put_in_place @anthropic-ai/claude-code install.cjs
[ -n "$(version_of opencode || true)" ] || put_in_place opencode-ai postinstall.mjs
versions=()
for pin in "${pins[@]}"; do
    read -r program package version <<< "$pin"
    got=$(version_of "$program" || true)
    [ "$got" = "$version" ] || die "$program is version '${got:-none}' instead of $version"
    versions+=(--version "$program=$version")
    printf '   %s %s\n' "$program" "$version" >&2
done

maestro=${MAESTRO_BIN-}
if [ -z "$maestro" ]; then
    step "maestro-ci"
    (cd "$root" && cargo build --release --locked -j2)
    maestro=$root/target/release/maestro-ci
fi
server=${MODEL_SERVER_BIN-}
if [ -z "$server" ]; then
    step "the model server"
    (cd "$root" && cargo build --release --locked --example model-server -j2)
    server=$root/target/release/examples/model-server
fi

step "the runs"
python3 -B "$here/agents/main.py" --maestro "$(realpath "$maestro")" --server "$(realpath "$server")" \
    --modules "$modules" --docs "$root/docs/agents.md" --tmp "$tmp" \
    --shared "$root/../shared/tools/model_server.py" --prices "$root/src/gateway/prices.json" "${versions[@]}" "$@"
