# shellcheck shell=bash
# Usage: source "$(dirname "${BASH_SOURCE[0]}")/lib.sh" (what the scripts share; not a program of its own)
#
# The scripts build into a cache outside the clone, so that a second clone builds in seconds. Deleting the cache
# costs time and never changes a result. REMUSD_SCRATCH names another folder.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache="${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/remusd"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# need_packages COMMAND=PACKAGE... | FILE=PACKAGE...: installs the Debian packages of the commands, and of the files with
# absolute paths, that are missing, when root; says which they are otherwise.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || [[ -e ${pair%%=*} ]] || missing+=("${pair#*=}")
    done
    [[ ${#missing[@]} -eq 0 ]] && return 0
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        say "needs the Debian packages ${missing[*]}; as root: apt-get install ${missing[*]}"
        return 1
    fi
    say "installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2 && return
    DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >&2 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
}

# need_swift: says what to do where there is no Swift, or one that is too old.
need_swift() {
    local version
    version=$(swift --version 2>/dev/null | grep -oE 'Swift version [0-9]+\.[0-9]+' | grep -oE '[0-9.]+') || {
        say "needs a Swift 6.3 toolchain: https://www.swift.org/install/linux/"
        return 1
    }
    if [[ ${version%%.*} -lt 6 || ( ${version%%.*} -eq 6 && ${version#*.} -lt 3 ) ]]; then
        say "needs Swift 6.3 or newer, this is $version: https://www.swift.org/install/linux/"
        return 1
    fi
}

# need_headers: what the build needs of C libraries: Xen's headers (its libraries are loaded at run time), libnl,
# libcurl, LZ4's and OpenSSL's.
need_headers() {
    need_packages /usr/include/xenguest.h=libxen-dev /usr/include/libnl3/netlink/netlink.h=libnl-3-dev \
        /usr/include/libnl3/netlink/route/qdisc/plug.h=libnl-route-3-dev "/usr/include/$(uname -m)-linux-gnu/curl/curl.h=libcurl4-openssl-dev" \
        /usr/include/openssl/ssl.h=libssl-dev /usr/include/lz4.h=liblz4-dev
}

# scratch_path: where SwiftPM builds: one folder for each manifest and toolchain, shared by all clones.
scratch_path() {
    if [[ -n ${REMUSD_SCRATCH:-} ]]; then
        printf '%s\n' "$REMUSD_SCRATCH"
        return
    fi
    local key
    key=$({ cat "$root/Package.swift"; swift --version 2>/dev/null; } | sha256sum | cut -c1-16)
    printf '%s/build-%s\n' "$cache" "$key"
}

# build_release [PROGRAM]: builds remusd, or another program, for release and prints the path of this clone's own copy of
# it, which stays what it is when another clone builds.
build_release() {
    local scratch program=${1:-remusd}
    scratch=$(scratch_path)
    mkdir -p "$scratch" "$root/.build-bin"
    (
        flock 9
        swift build --package-path "$root" --scratch-path "$scratch" -c release --static-swift-stdlib \
            --product "$program" </dev/null >&2 || exit
        cp --remove-destination "$scratch/release/$program" "$root/.build-bin/$program.$$"
        mv -f "$root/.build-bin/$program.$$" "$root/.build-bin/$program"
    ) 9>"$scratch/remusd.lock" || return
    printf '%s\n' "$root/.build-bin/$program"
}
