#!/usr/bin/env bash
# The slow suites, and what the quick ones keep to themselves: 40 real kills spread over a run of eight tasks (with a
# histogram of where they fell), a thousand random budgets over real HTTP (with how far the gateway's estimates were from
# what was billed), and many seeds of the simulator. Usage: ci/endurance.sh [KILLS] [SEEDS]
set -euo pipefail
cd "$(dirname "$0")/.."

export MAESTRO_KILL_MOMENTS=${1:-40} MAESTRO_SIM_SEEDS=${2:-20000}

cargo build --locked -j2
cargo test --locked -j2 --test it killed_at_any_moment -- --nocapture
cargo test --locked -j2 --test it a_thousand_budgets -- --nocapture
cargo test --locked -j2 --release --test sim a_thousand_seeds -- --nocapture
