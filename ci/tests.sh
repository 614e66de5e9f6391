#!/usr/bin/env bash
# The README's test command. A binary with no test is a failure, unless it is one that has none by nature.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace 2>&1 | tee "$log"
passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log" | paste -sd+ | bc)
ignored=$(sed -nE 's/^test result: ok\. [0-9]+ passed; [0-9]+ failed; ([0-9]+) ignored.*/\1/p' "$log" | paste -sd+ | bc)
echo "tests passed: ${passed:-0}, ignored: ${ignored:-0}"
[ "${passed:-0}" -ge 100 ] || { echo "fewer than 100 tests ran" >&2; exit 1; }
[ "${ignored:-0}" -eq 0 ] || { echo "ignored tests are not tests" >&2; exit 1; }
