#!/usr/bin/env bash
# What is published builds from its own package.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo package --allow-dirty -p offspring-core -p offspring-os-unix -p offspring
