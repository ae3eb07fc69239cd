# shellcheck shell=bash
# Sourced by script/bootstrap, from the checkout's root: words, Debian packages, digests.

say() { echo "==> $*"; }

fail() {
    echo "script/bootstrap: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "needs root for: $*"
        sudo "$@"
    fi
}

install_packages() {
    say "Installing Debian packages: $*"
    command -v apt-get >/dev/null || fail "please install these, there is no apt-get here: $*"
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
        "$@" >/dev/null
}

# Each argument is command:package.
ensure_commands() {
    local pair
    # A package may have several of the commands.
    local -A missing=()
    for pair in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing[${pair#*:}]=yes
    done
    [ ${#missing[@]} = 0 ] || install_packages "${!missing[@]}"
}

# For what a few tests need, which say so when they are left out, and not every distribution has.
install_if_packaged() {
    local command=$1 package=$2
    ! command -v "$command" >/dev/null && command -v apt-get >/dev/null || return 0
    apt-cache show "$package" >/dev/null 2>&1 ||
        as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
    if apt-cache show "$package" >/dev/null 2>&1; then
        install_packages "$package"
    else
        echo "    NOTE: this system has no package $package, what needs it is not tested"
    fi
}

digest_of() {
    find "$@" -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum |
        sha256sum | cut -d ' ' -f 1
}
