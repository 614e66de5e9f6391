#!/usr/bin/env bash
# The platforms that no machine here can run are type-checked, tests included.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/target.sh
for target in aarch64-unknown-linux-gnu aarch64-unknown-linux-musl; do
    need_target $target
    echo "type-checking for $target"
    cargo check "${build_std[@]}" --target $target --workspace --all-targets
done
