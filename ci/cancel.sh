#!/usr/bin/env bash
# SIGINT at 50 random moments of a run whose agents and gates ignore signals: exit within three seconds, all reports there,
# valid, and in agreement with each other and with the exit code; no process and no workspace left.
# Usage: ci/cancel.sh [MOMENTS [SEED]]; MAESTRO_BIN names a binary to use instead of building it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
use_maestro
python3 -B "$root/ci/consumers/cancel.py" --maestro "$maestro" --tmp "$tmp" --moments "${1:-50}" \
    --seed "${2:-$RANDOM}"
