# Sourced by demo and test: installs what is missing on Debian, and builds. Says nothing unless
# something fails; the log of what it did is build/setup.log.

set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
mkdir -p build
log=$root/build/setup.log
: >"$log"

# quietly WHAT COMMAND...: runs it into the log; shows the end of the log when it fails.
quietly() {
    what=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        echo "$(basename "$0"): $what failed; the end of $log:" >&2
        tail -n 40 "$log" >&2
        exit 1
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# The package lists may be missing or old: they are fetched once, when something is to be installed.
updated=
install() {
    [ -n "$updated" ] || quietly "apt-get update" as_root apt-get update
    updated=yes
    apt_install "$@" >>"$log" 2>&1
}

# need PACKAGE...: installs those that are not there.
need() {
    missing=
    for package; do
        installed "$package" || missing="$missing $package"
    done
    # shellcheck disable=SC2086 # a list of names
    [ -z "$missing" ] || install $missing || {
        echo "$(basename "$0"): cannot install$missing; see $log" >&2
        exit 1
    }
}

need_llvm() {
    if ! command -v llvm-config-22 >/dev/null && ! command -v llvm-config-19 >/dev/null; then
        install llvm-22-dev || need llvm-19-dev
    fi
    # Compiles the planner for GPUs; Meson says so where it is missing, and heddle plans on the host.
    if command -v llvm-config-22 >/dev/null && ! command -v clang-22 >/dev/null; then
        install clang-22 || echo "$(basename "$0"): cannot install clang-22; see $log" >&2
    fi
}

need_build_tools() {
    command -v apt-get >/dev/null || return 0 # not Debian: Meson says what it misses
    need gcc libc6-dev meson ninja-build pkg-config flex bison libpng-dev libxxhash-dev zlib1g-dev libzstd-dev \
        libxml2-dev libz3-dev
    need_llvm
}

need_test_tools() {
    command -v apt-get >/dev/null || return 0
    need g++ clang libcriterion-dev python3-numpy binutils mandoc
}

# build FOLDER OPTION...: configures (once) and builds.
build() {
    folder=$1
    shift
    if [ -f "$folder/build.ninja" ]; then
        quietly "configuring $folder" meson configure "$folder" "$@"
    else
        quietly "configuring $folder" meson setup "$folder" "$@"
    fi
    quietly "building $folder" ninja -C "$folder"
}
