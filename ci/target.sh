# Sourced by the stages that build for another target: `need_target NAME` sees to its standard library.
#
# rustup's where it has it. Otherwise a compiler and library sources that Debian packages, built anew: then the variables
# that make cargo do so are exported, and `build_std` holds its options.

build_std=()

need_target() {
    if rustup target add "$1" >/dev/null 2>&1; then
        return
    fi
    if ! debian_std; then
        apt-get update -q
        apt-get install -qy --no-install-recommends rustc-web rust-web-src
        debian_std || {
            echo "no standard library for $1: rustup cannot add the target, and Debian's rustc-web is older than" \
                "the $(needed_version) that this workspace needs" >&2
            return 1
        }
    fi
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    build_std=(-Zbuild-std)
}

needed_version() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml
}

# Whether Debian's compiler and its library sources are there, and new enough.
debian_std() {
    [ -x /usr/bin/rustc ] || return 1
    [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ] || return 1
    printf '%s\n%s\n' "$(needed_version)" "$(/usr/bin/rustc --version | cut -d' ' -f2)" | sort -VC
}
