#!/usr/bin/env bash
# The Windows build runs under Wine: the tests, the word count among kills, and the kill test.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/target.sh
missing=()
command -v wine >/dev/null || missing+=(wine wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -q
    apt-get install -qy --no-install-recommends "${missing[@]}"
fi
target=x86_64-pc-windows-gnu
need_target $target

# Cargo's runner makes the prefix; its server ends with this script.
OFFSPRING_WINEPREFIX=$(realpath -m "${CARGO_TARGET_DIR:-target}")/wine
export OFFSPRING_WINEPREFIX
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$PWD/ci/wine-runner.sh
end_wine() {
    local server
    server=$(command -v wineserver || echo /usr/lib/wine/wineserver)
    WINEPREFIX=$OFFSPRING_WINEPREFIX "$server" -k || true
    WINEPREFIX=$OFFSPRING_WINEPREFIX "$server" -w || true
}
trap end_wine EXIT

build() {
    local command=$1
    shift
    cargo "$command" "${build_std[@]}" --target $target "$@"
}
build test -p offspring-core -p offspring-os-windows
# The others fork, or read /proc and the arena's file: PLATFORMS.md lists them.
build test -p offspring --lib --test auto_traits --test batches --test channels --test panics --test pool --test process \
    --test process_queue --test queue --test spsc
build run --quiet --profile ci -p offspring-verify -- conformance
build run --profile ci -p offspring --example wordcount -- core --kill --check
build run --quiet --profile ci -p offspring-verify -- kill --quick --seconds 300
