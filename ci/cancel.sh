#!/usr/bin/env bash
# SIGINT at 50 random moments of a run whose agents and gates ignore signals: exit within three seconds, all reports there,
# valid, and in agreement with each other and with the exit code; no process and no workspace left.
# Usage: ci/cancel.sh [MOMENTS [SEED]]; MAESTRO_BIN names a binary to use instead of building it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd -P)
root=$(dirname "$here")

tmp=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$tmp"' EXIT
for name in $(compgen -e MAESTRO_CI_ || true) $(compgen -e GIT_ || true) $(compgen -e GITHUB_ || true); do unset "$name"; done
maestro=${MAESTRO_BIN-}
if [ -z "$maestro" ]; then
    (cd "$root" && cargo build --release --locked -j2)
    maestro=$root/target/release/maestro-ci
fi
python3 -B "$here/consumers/cancel.py" --maestro "$(realpath "$maestro")" --tmp "$tmp" --moments "${1:-50}" \
    --seed "${2:-$RANDOM}"
