#!/usr/bin/env bash
# Programs whose panics abort: the main job once more, and the tests of how panics are told.
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO_PROFILE_RELEASE_PANIC=abort cargo run --release --target-dir target/abort --example wordcount -- --kill --check
# A target of its own keeps the flag from build scripts and proc macros.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=-Cpanic=abort cargo test --target "$host" --target-dir target/abort -p offspring --test panics
