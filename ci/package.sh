#!/usr/bin/env bash
# What is published builds from its own package.
set -euo pipefail
cd "$(dirname "$0")/.."
# cargo unpacks the packages that it has just made as if a registry had them, and does not unpack the same version twice.
unpacked="${CARGO_HOME:-$HOME/.cargo}/registry"
rm -rf "$unpacked"/{src,cache}/-*/offspring*-[0-9]*
exec cargo package --allow-dirty -p offspring-core -p offspring-os-unix -p offspring-os-windows -p offspring
