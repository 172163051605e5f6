#!/usr/bin/env bash
# The one check: formatting, lints, tests, documentation, dependency policy, scripts, spelling. Fails at the first problem.
#
# Needs Linux 6.2 or newer with Landlock, git 2.38 or newer, Rust from rustup with rustfmt and clippy, Python 3.11 or newer
# with venv (the tests' fake agent and the spelling check are Python), and registries of crates and of Python packages
# where cargo-deny or typos are not there yet. It installs these two itself, into ~/.cargo/bin and target/check-venv. jq,
# curl and openssl, which the tests of pipelines and of tokens run, it installs from Debian's packages where they are missing
# and it may. It changes nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

deny_version=0.20.2
typos_version=1.52.0

step() { printf '\n== %s\n' "$*"; }

step "what is needed"
packages=()
for tool in jq curl openssl; do
    command -v "$tool" > /dev/null || packages+=("$tool")
done
if [ ${#packages[@]} -gt 0 ] && command -v apt-get > /dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    "${root[@]}" apt-get -qq update && "${root[@]}" apt-get -qq install -y --no-install-recommends "${packages[@]}" || true
fi
missing=()
needs() { # WHAT COMMAND…
    local what=$1
    shift
    "$@" > /dev/null 2>&1 || missing+=("$what")
}
is_git_new_enough() { printf '2.38\n%s\n' "$(git version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)" | sort -CV; }
needs "Rust: install it with rustup" cargo --version
needs "rustfmt: rustup component add rustfmt" cargo fmt --version
needs "clippy: rustup component add clippy" cargo clippy --version
needs "git 2.38 or newer" is_git_new_enough
needs "jq (Debian's package jq)" jq --version
needs "curl (Debian's package curl)" curl --version
needs "openssl 3 (Debian's package openssl)" sh -c 'openssl version | grep -q "^OpenSSL 3"'
needs "Python 3.11 or newer, as python3" python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
needs "Python's venv and pip (on Debian: python3-venv)" python3 -c 'import ensurepip, venv'
# landlock_create_ruleset(2), asked for its version: 3 is that of Linux 6.2.
landlock='import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 3)'
needs "Landlock: Linux 6.2 or newer with it switched on" python3 -c "$landlock"
if [ ${#missing[@]} -gt 0 ]; then
    printf 'check: this is missing: %s\n' "${missing[@]}" >&2
    exit 1
fi

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

step scripts
# Compiled and thrown away.
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
PYTHONPYCACHEPREFIX=$cache python3 -m compileall -q ci tests
for script in ci/*.sh ci/*/*.sh; do
    bash -n "$script"
done

step spelling
venv=target/check-venv
if ! "$venv/bin/typos" --version 2>/dev/null | grep -q " $typos_version\$"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "typos==$typos_version"
fi
"$venv/bin/typos"

step "all checks passed"
