# What the scripts of ci/ share. They source it first, with `set -euo pipefail`. It sets `root`, the top of the checkout,
# and `tmp`, a directory that goes with the script; the caller's own settings are gone from the environment.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Physical paths: searches for left processes compare them with /proc.
tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

# They must not decide the outcome.
for setting in $(compgen -e | grep -E '^(MAESTRO_CI|GIT|GITHUB)_' || true); do
    unset "$setting"
done

# Node is a package too, where the machine's own must not decide.
node_pin="node 22.23.3"

step() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

quietly() { # WHAT COMMAND… : says what the command says only where it fails
    "${@:2}" > "$tmp/quietly.log" 2>&1 || { cat "$tmp/quietly.log" >&2; die "$1 failed"; }
}

# Sets `cache`, where packages stay from one time to the next.
use_cache() { # DIRECTORY
    mkdir -p "$1"
    cache=$(cd "$1" && pwd -P)
}

# Installs what `cache` does not have at its pinned version yet: in its node_modules, or in its venv.
packages() { # npm|pip 'NAME VERSION'…
    local kind=$1 pin got missing=()
    shift
    for pin in "$@"; do
        [ "$("${kind}_version" "${pin% *}")" = "${pin#* }" ] || missing+=("$pin")
    done
    [ ${#missing[@]} -eq 0 ] || quietly "$kind install ${missing[*]}" "${kind}_install" "${missing[@]}"
    for pin in "$@"; do
        got=$("${kind}_version" "${pin% *}" || true)
        [ "$got" = "${pin#* }" ] || die "${pin% *} is version '${got:-none}' instead of ${pin#* }"
        printf '   %s\n' "$pin" >&2
    done
}
npm_version() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' \
        "$cache/node_modules/$1/package.json" 2> /dev/null
}
npm_install() {
    [ -f "$cache/package.json" ] || echo '{"private":true}' > "$cache/package.json"
    PATH="$cache/node_modules/node/bin:$PATH" npm install --prefix "$cache" --no-audit --no-fund --save-exact \
        --foreground-scripts "${@/ /@}"
}
pip_version() {
    "$cache/venv/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))" 2> /dev/null
}
pip_install() {
    [ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv" || return 1
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "${@/ /==}"
}

# Some npm hold back the scripts that put programs in place; this runs one of them.
put_in_place() { # PACKAGE SCRIPT
    (cd "$cache/node_modules/$1" && PATH="$cache/node_modules/node/bin:$PATH" quietly "$1: its $2" node "$2")
}

# Sets `node`. It comes before other packages: npm takes older ones than those asked for where the running node does not
# suit them.
use_node() {
    packages npm "$node_pin"
    node=$cache/node_modules/node/bin/node
    [ -x "$node" ] || put_in_place node installArchSpecificPackage.js
}

# Sets `maestro`: the binary that MAESTRO_BIN names, or a release build.
use_maestro() {
    maestro=${MAESTRO_BIN-}
    if [ -z "$maestro" ]; then
        step "maestro-ci"
        (cd "$root" && cargo build --release --locked -j2)
        maestro=$root/target/release/maestro-ci
    fi
    maestro=$(realpath "$maestro")
}
