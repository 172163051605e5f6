#!/usr/bin/env bash
# Puts the program where later steps find it: a release whose SHA-256 is known beforehand, or the action's own source.
#
# In: MAESTRO_ACTION_VERSION, _SHA256, _URL, _BUILD, _REPOSITORY; RUNNER_TEMP, GITHUB_OUTPUT, GITHUB_PATH.
# Out: `bin` in GITHUB_OUTPUT and its directory in GITHUB_PATH. Exit 2 for inputs that make no sense, 6 for the rest.
# Values of inputs are never printed before they are known to be harmless: the runner reads commands from this log.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
temp=${RUNNER_TEMP:?the action runs on a runner, which sets RUNNER_TEMP}/maestro-ci
bin=$temp/bin/maestro-ci

say() { printf 'maestro-ci action: %s\n' "$*"; }
die() { # CODE MESSAGE…
    local code=$1
    shift
    printf 'maestro-ci action: error: %s\n' "$*" >&2
    exit "$code"
}

version=${MAESTRO_ACTION_VERSION:-auto}
sha256=${MAESTRO_ACTION_SHA256:-}
url=${MAESTRO_ACTION_URL:-}
repository=${MAESTRO_ACTION_REPOSITORY:-}
[[ $version =~ ^(auto|v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?)$ ]] \
    || die 2 "the input \`version\` is neither auto nor a version such as 0.1.0"
[[ $sha256 =~ ^([0-9a-fA-F]{64})?$ ]] || die 2 "the input \`sha256\` is not 64 hexadecimal digits"
[[ $url =~ ^(https://[A-Za-z0-9._~:/%@+-]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/[A-Za-z0-9._~/%@+-]*)?)?$ ]] \
    || die 2 "the input \`download-url\` is not an https address"
[[ $repository =~ ^([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)?$ ]] || repository=
version=${version#v}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) target=x86_64-unknown-linux-musl ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-musl ;;
    *) die 6 "maestro-ci runs on Linux, x86-64 and arm64" ;;
esac

archive_of() { printf 'maestro-ci-%s-v%s.tgz' "$target" "$1"; }

# The newest listed release for this machine; nothing where there is none.
newest() {
    awk -v head="maestro-ci-$target-v" '
        /^[0-9a-f]+ / && index($2, head) == 1 { v = substr($2, length(head) + 1); sub(/\.tgz$/, "", v); found = v }
        END { print found }' "$here/releases.txt"
}

listed_sum() { awk -v name="$(archive_of "$1")" '/^[0-9a-f]+ / && $2 == name { print $1 }' "$here/releases.txt"; }

# Only what a build needs: a build script of a dependency has no business with the job's secrets.
build_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
            *TOKEN* | *SECRET* | *PASSWORD*) ;;
            PATH | HOME | USER | TMPDIR | LANG | LC_* | CARGO_* | RUSTUP_* | CC | CXX | AR | SSL_CERT_*) printf '%s\n' "$name" ;;
            http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY) printf '%s\n' "$name" ;;
        esac
    done
}

build() {
    # Where cargo is started decides on toolchain and configuration: the checkout's are not the action's.
    cd "$source_dir"
    command -v cargo > /dev/null || die 6 "to build from source, cargo has to be installed"
    local wanted have name
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$source_dir/Cargo.toml")
    have=$(cargo --version | awk '{ print $2 }')
    local cargo=(cargo)
    if ! printf '%s\n%s\n' "$wanted" "$have" | sort -CV; then
        command -v rustup > /dev/null || die 6 "maestro-ci needs Rust $wanted, and this is $have"
        cargo=(rustup run --install "$wanted" cargo)
    fi
    local clean=()
    for name in $(build_environment); do
        clean+=("$name=${!name}")
    done
    say "building maestro-ci from the action's source; this takes some minutes"
    env -i "${clean[@]}" "${cargo[@]}" build --release --locked --bin maestro-ci \
        --manifest-path "$source_dir/Cargo.toml" --target-dir "$temp/target" || die 6 "the build failed"
    mkdir -p "$temp/bin"
    cp "$temp/target/release/maestro-ci" "$bin"
}

download() { # VERSION
    local archive sum base file
    archive=$(archive_of "$1")
    sum=${sha256:-$(listed_sum "$1")}
    [ -n "$sum" ] || die 2 "nothing is known of release $1 for $target: give its SHA-256 as the input \`sha256\`"
    base=${url:-${repository:+${GITHUB_SERVER_URL:-https://github.com}/$repository/releases/download}}
    [ -n "$base" ] || die 2 "the action is a local one and has no releases; give \`download-url\`, or build from source"
    mkdir -p "$temp/bin" "$temp/archive"
    file=$temp/archive/$archive
    say "downloading $archive"
    # Redirects may lead to another host, as those of releases do; what comes is held against the sum.
    curl --fail --silent --show-error --location --proto '=https,http' --proto-redir '=https' --retry 3 --max-time 300 \
        --output "$file" "${base%/}/v$1/$archive" || die 6 "the release could not be downloaded"
    if ! printf '%s  %s\n' "${sum,,}" "$file" | sha256sum --check --status; then
        rm -f "$file"
        die 6 "the archive's SHA-256 is not the expected one; it was thrown away and nothing of it was run"
    fi
    tar --extract --gzip --no-same-owner --file "$file" --directory "$temp/archive" "${archive%.tgz}/maestro-ci" \
        || die 6 "the archive does not hold the program"
    install -m 755 "$temp/archive/${archive%.tgz}/maestro-ci" "$bin"
}

if [ "${MAESTRO_ACTION_BUILD:-false}" = true ]; then
    build
elif [ "$version" != auto ]; then
    download "$version"
elif listed=$(newest) && [ -n "$listed" ]; then
    download "$listed"
else
    build
fi

"$bin" --version || die 6 "the program does not start on this machine"
printf 'bin=%s\n' "$bin" >> "${GITHUB_OUTPUT:-/dev/null}"
printf '%s\n' "$temp/bin" >> "${GITHUB_PATH:-/dev/null}"
