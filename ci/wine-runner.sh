#!/usr/bin/env bash
# Runs a Windows program under Wine: cargo's runner for x86_64-pc-windows-gnu.
#
# The prefix lies below the target directory and is made by the first run. OFFSPRING_WINEPREFIX names another one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
WINEPREFIX=$(realpath -m "${OFFSPRING_WINEPREFIX:-${CARGO_TARGET_DIR:-$here/../target}/wine}")
export WINEPREFIX
export WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES="mscoree,mshtml,winedbg.exe="

if ! [ -e "$WINEPREFIX/ready" ]; then
    mkdir -p "$WINEPREFIX"
    (
        flock 9
        if ! [ -e "$WINEPREFIX/ready" ]; then
            # Its messages are of what the prefix does without (32-bit programs, a browser).
            wine wineboot -i >/dev/null 2>&1 9>&-
            x86_64-w64-mingw32-gcc -O1 -Wall -Werror -shared "$here/wine/bcryptprimitives.c" -ladvapi32 \
                -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
            touch "$WINEPREFIX/ready"
        fi
    ) 9>"$WINEPREFIX/lock"
fi

# Tests look at what their children inherit.
unset OFFSPRING_WINEPREFIX
exec wine "$@"
