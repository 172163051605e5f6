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
. "$(dirname "$0")/lib.sh"

prism_version=5.14.2
openapi_version=23.0.2

use_cache "${MAESTRO_FORGE_CACHE:-$root/target/forge}"
step "the mock server, in $cache"
use_node
packages npm "@stoplight/prism-cli $prism_version" "@octokit/openapi $openapi_version"

use_maestro
step "the runs"
python3 -B "$root/ci/forge/main.py" --maestro "$maestro" --node "$node" --modules "$cache/node_modules" --tmp "$tmp"
