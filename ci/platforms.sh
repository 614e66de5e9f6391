#!/usr/bin/env bash
# The platforms that no machine here can run are type-checked, tests included; of macOS the libraries, without tests.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/target.sh
for target in aarch64-unknown-linux-gnu aarch64-unknown-linux-musl; do
    need_target $target
    echo "type-checking for $target"
    cargo check "${build_std[@]}" --target $target --workspace --all-targets
done
for target in aarch64-apple-darwin x86_64-apple-darwin; do
    need_target $target
    echo "type-checking for $target"
    cargo clippy "${build_std[@]}" --target $target -p offspring-core -p offspring-os-unix -p offspring -- -D warnings
done
