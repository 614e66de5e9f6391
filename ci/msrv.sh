#!/usr/bin/env bash
# The stated minimum version builds the published crates: with that toolchain where it is installed, which it must be.
set -euo pipefail
cd "$(dirname "$0")/.."
msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
version=$(rustc --version | cut -d' ' -f2)
case "$version" in
"$msrv" | "$msrv".*) toolchain=() ;;
*) toolchain=("+$msrv") ;;
esac
cargo "${toolchain[@]}" --version
cargo "${toolchain[@]}" check -p offspring-core -p offspring-os-unix -p offspring
