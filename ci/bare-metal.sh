#!/usr/bin/env bash
# core builds for a machine without an operating system.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-none
if rustup target add "$target" >/dev/null 2>&1; then
    exec cargo build --target "$target" -p offspring-core
fi
# No target to download: build core's own `core` from the library sources that Debian packages.
if ! [ -x /usr/bin/rustc ] || ! [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
    apt-get update -q
    apt-get install -qy --no-install-recommends rustc-web rust-web-src
fi
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
exec cargo build -Zbuild-std=core --target "$target" --target-dir target/bare-metal -p offspring-core
