#!/usr/bin/env bash
# The one check: formatting, lints, tests, documentation, dependency policy, spelling. Installs what it needs
# (into ~/.cargo/bin and a Python environment under target/), changes nothing else. Fails at the first problem.
set -euo pipefail
cd "$(dirname "$0")/.."

deny_version=0.20.2
typos_version=1.52.0

step() { printf '\n== %s\n' "$*"; }

step formatting
cargo fmt --check

step lints
cargo clippy --locked --all-targets -j2 -- -D warnings

step build
# The black-box tests run the binary they find here.
cargo build --locked -j2

step tests
cargo test --locked -j2

step documentation
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps -j2

step dependency policy
if ! cargo deny --version 2>/dev/null | grep -q " $deny_version\$"; then
    cargo install cargo-deny --version "$deny_version" --locked -j2
fi
# Advisories need a database from a host that CI may not reach; run `cargo deny check advisories` where it can be reached.
cargo deny check bans licenses sources

step spelling
venv=target/check-venv
if ! "$venv/bin/typos" --version 2>/dev/null | grep -q " $typos_version\$"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "typos==$typos_version"
fi
"$venv/bin/typos"

step "all checks passed"
