#!/usr/bin/env bash
# What the stages need besides Rust: said here if it is missing, not found out by a test that passes without it.
set -euo pipefail
missing=0
need() {
    if ! eval "$2" >/dev/null 2>&1; then
        echo "missing: $1" >&2
        missing=1
    fi
}
need "rustfmt (rustup component add rustfmt)" "cargo fmt --version"
need "clippy (rustup component add clippy)" "cargo clippy --version"
need "a C compiler, for linking" "cc --version"
need "Linux 5.16 or later, for futex_waitv" \
    '[ "$(uname -s)" = Linux ] && printf "5.16\n%s\n" "$(uname -r | cut -d- -f1)" | sort -VC'
need "/proc" "[ -r /proc/self/status ]"
need "seccomp filters, for the tests of fallbacks" "grep -q '^Seccomp:' /proc/self/status"
exit $missing
