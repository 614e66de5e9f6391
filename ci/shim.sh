#!/usr/bin/env bash
# Atomics come from core's shim alone (clippy refuses the types), and unsafe code stays where it belongs.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
if grep -rnE '(core|std)::sync::atomic|loom::sync' --include='*.rs' core/src os-unix/src os-windows/src src |
    grep -vE '^core/src/prim/(real|model)\.rs|^core/src/points\.rs|//'; then
    echo "atomics outside core::prim: see above" >&2
    bad=1
fi
allowed='^src/(process/(entry|child|record|setup|server|forked)|pool/(board|function)|queue/place|queue/loan|queue/spsc/place|queue/unbounded/rings|value/bytes|value/plain)\.rs'
if grep -rlE 'allow\(unsafe_code\)' --include='*.rs' src | grep -vE "$allowed"; then
    echo "these modules of the facade allow unsafe code and are not on the list" >&2
    bad=1
fi
if grep -rnE 'cfg\((unix|windows|not\(unix\)|target_os)' --include='*.rs' src | grep -v '^src/sys.rs'; then
    echo "the facade names an operating system outside src/sys.rs" >&2
    bad=1
fi
exit $bad
