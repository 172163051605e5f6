#!/usr/bin/env bash
# What the gateway costs in CPU and in time, against the same calls without it. See benches/gateway.rs.
#
# Usage: ci/bench-gateway.sh
set -euo pipefail
cd "$(dirname "$0")/.."

cargo bench --locked -j2 --bench gateway
