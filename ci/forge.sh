#!/usr/bin/env bash
# Every request that maestro-ci makes of GitHub, held against GitHub's own description of its API: whole runs of the
# built binary talk to Prism, a mock server that reads that description and refuses what does not fit it. A request that is
# refused, one that the description does not know, and one that no run made although it is on the list, are failures. So is
# anything that cannot be installed.
#
# Needs bash, git, python3 3.11, openssl, npm with a registry of packages, and cargo; no token, no forge. Nothing is called
# but the registry and the loopback.
#
# Usage: ci/forge.sh
# Environment: MAESTRO_FORGE_CACHE   where the packages are installed (target/forge)
#              MAESTRO_BIN           binary to use instead of building it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")

# Node is a package too, so that the machine's own does not decide.
node_version=22.23.3
prism_version=5.14.2
openapi_version=23.0.2

step() { printf '== %s\n' "$*" >&2; }
die() { printf 'forge: %s\n' "$*" >&2; exit 1; }

cache=${MAESTRO_FORGE_CACHE:-$root/target/forge}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P)
modules=$cache/node_modules
node=$modules/node/bin/node
tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

is_pinned() { # PACKAGE VERSION
    [ "$(sed -n 's/^  "version": "\(.*\)",*$/\1/p' "$modules/$1/package.json" 2> /dev/null | head -n 1)" = "$2" ]
}

install() {
    (cd "$cache" && PATH="$modules/node/bin:$PATH" npm install --no-audit --no-fund --save-exact "$@") \
        > "$tmp/npm.log" 2>&1 || { cat "$tmp/npm.log" >&2; die "npm could not install $*"; }
}

step "the mock server, in $cache"
[ -f "$cache/package.json" ] || echo '{"name":"forge","private":true}' > "$cache/package.json"
is_pinned node "$node_version" || install "node@$node_version"
if [ ! -x "$node" ]; then
    # Some npm hold back the script that puts the program in place.
    (cd "$modules/node" && command node installArchSpecificPackage.js) > "$tmp/place.log" 2>&1 \
        || { cat "$tmp/place.log" >&2; die "node could not be put in place"; }
fi
if ! is_pinned @stoplight/prism-cli "$prism_version" || ! is_pinned @octokit/openapi "$openapi_version"; then
    install "@stoplight/prism-cli@$prism_version" "@octokit/openapi@$openapi_version"
fi
is_pinned @stoplight/prism-cli "$prism_version" || die "prism-cli is not version $prism_version"
is_pinned @octokit/openapi "$openapi_version" || die "the description of the API is not version $openapi_version"
printf '   node %s, prism %s, description %s\n' "$("$node" --version)" "$prism_version" "$openapi_version" >&2

maestro=${MAESTRO_BIN-}
if [ -z "$maestro" ]; then
    step "maestro-ci"
    (cd "$root" && cargo build --release --locked -j2)
    maestro=$root/target/release/maestro-ci
fi

step "the runs"
python3 -B "$here/forge/main.py" --maestro "$(realpath "$maestro")" --node "$node" --modules "$modules" --tmp "$tmp"
