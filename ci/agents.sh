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
. "$(dirname "$0")/lib.sh"

# PROGRAM PACKAGE VERSION
pins=(
    "node $node_pin"
    "claude @anthropic-ai/claude-code 2.1.329"
    "codex @openai/codex 0.169.0"
    "gemini @google/gemini-cli 0.61.0"
    "opencode opencode-ai 1.18.33"
    "qwen @qwen-code/qwen-code 0.24.4"
    "claude-agent-acp @agentclientprotocol/claude-agent-acp 0.100.0"
)

use_cache "${MAESTRO_AGENTS_CACHE:-$root/target/agents}"
modules=$cache/node_modules

# What a program says is its version, in a home that is thrown away and with nobody to call.
version_of() {
    mkdir -p "$tmp/home"
    env -i HOME="$tmp/home" PATH="$modules/.bin:$modules/node/bin:/usr/local/bin:/usr/bin:/bin" TERM=dumb CI=1 \
        HTTPS_PROXY=http://127.0.0.1:9 DISABLE_AUTOUPDATER=1 OPENCODE_DISABLE_AUTOUPDATE=1 \
        timeout 60 "$1" --version < /dev/null 2> /dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1
}

step "the agents, in $cache"
use_node
packages npm "${pins[@]#* }"
[ -n "$(version_of claude || true)" ] || put_in_place @anthropic-ai/claude-code install.cjs
[ -n "$(version_of opencode || true)" ] || put_in_place opencode-ai postinstall.mjs
versions=()
for pin in "${pins[@]}"; do
    read -r program _ version <<< "$pin"
    got=$(version_of "$program" || true)
    [ "$got" = "$version" ] || die "$program is version '${got:-none}' instead of $version"
    versions+=(--version "$program=$version")
done

use_maestro
server=${MODEL_SERVER_BIN-}
if [ -z "$server" ]; then
    step "the model server"
    (cd "$root" && cargo build --release --locked --example model-server -j2)
    server=$root/target/release/examples/model-server
fi

step "the runs"
python3 -B "$root/ci/agents/main.py" --maestro "$maestro" --server "$(realpath "$server")" \
    --modules "$modules" --docs "$root/docs/agents.md" --tmp "$tmp" \
    --shared "$root/../shared/tools/model_server.py" --prices "$root/src/gateway/prices.json" "${versions[@]}" "$@"
