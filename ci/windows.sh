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
# Examples in the documentation run on Linux alone.
log=$(mktemp)
trap 'rm -f "$log"; end_wine' EXIT
build build --workspace
build test --lib --tests -p offspring-core -p offspring-os-windows -p offspring -p offspring-verify 2>&1 | tee "$log"
passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log" | paste -sd+ | bc)
ignored=$(sed -nE 's/^test result: ok\. [0-9]+ passed; [0-9]+ failed; ([0-9]+) ignored.*/\1/p' "$log" | paste -sd+ | bc)
echo "tests passed under Wine: ${passed:-0}, ignored: ${ignored:-0}"
[ "${passed:-0}" -ge 300 ] || { echo "fewer than 300 tests ran" >&2; exit 1; }
[ "${ignored:-0}" -eq 0 ] || { echo "ignored tests are not tests" >&2; exit 1; }

build run --quiet --profile ci -p offspring-verify -- conformance
for _ in 1 2 3; do
    build run --quiet --profile ci -p offspring --example wordcount -- core --kill --check
done
# It ends as soon as 500 were killed, and one at each named point that there is.
build run --quiet --profile ci -p offspring-verify -- kill --quick --seconds 300
