#!/usr/bin/env bash
# A million strings, random and built from what is dangerous, through every encoder: what comes out is parsed back, has to
# say the same and to do nothing. Usage: ci/fuzz.sh [STRINGS [SEED]]
set -euo pipefail
cd "$(dirname "$0")/.."

export MAESTRO_FUZZ_STRINGS=${1:-1000000} MAESTRO_FUZZ_SEED=${2:-1}
cargo test --release --locked -j2 --test fuzz -- --nocapture
