#!/usr/bin/env bash
# The musl build runs: the tests, the word count among kills, and the kill test.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/target.sh
target=x86_64-unknown-linux-musl
need_target $target
if [ ${#build_std[@]} -gt 0 ]; then
    # A library built from sources links against the system's musl.
    if ! command -v musl-gcc >/dev/null; then
        apt-get install -qy --no-install-recommends musl-tools
    fi
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=musl-gcc
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-Clink-self-contained=no"
fi
build() {
    local command=$1
    shift
    cargo "$command" "${build_std[@]}" --target $target "$@"
}
build test -p offspring-core -p offspring-os-unix -p offspring
build run --profile ci --example wordcount -- --kill --check
build run --quiet --profile ci -p offspring-verify -- kill --quick
build run --quiet --profile ci -p offspring-verify -- conformance
