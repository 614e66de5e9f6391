#!/usr/bin/env bash
# The main job once more in a program whose panics abort.
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO_PROFILE_RELEASE_PANIC=abort cargo run --release --target-dir target/abort --example wordcount -- --kill --check
