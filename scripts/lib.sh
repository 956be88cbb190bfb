# shellcheck shell=bash
# What the other scripts share: messages, Debian packages, Python environments. Sourced, never run.
#
# Every function is quick when there is nothing to do, and where it cannot do its part, says the command that would.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf '\033[31mmissing: %s\033[0m\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# need_debian PACKAGE...: installs them, or says how to.
need_debian() {
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        { have sudo && sudo -n true 2>/dev/null; } || die "$*. Install it with: sudo apt-get install $*"
        sudo=(sudo -n)
    fi
    have apt-get || die "$*, and this is no Debian. Install it by your system's means and run this again"
    say "installing $*"
    # Old lists would bring old browsers, or none.
    "${sudo[@]}" apt-get update -q >/dev/null || say "apt-get update failed; trying with the lists there are"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" >/dev/null ||
        die "$*. Tried and failed: apt-get install $*"
}

need_rust() {
    have cargo || die "the Rust toolchain (cargo). See https://rustup.rs"
    # A linker is all that the crates ask of C.
    have cc || need_debian gcc libc6-dev
}

# need_rust_component COMPONENT PROGRAM
need_rust_component() {
    have "$2" && "$2" --version >/dev/null 2>&1 && return
    have rustup || die "$1. Install it with: rustup component add $1"
    rustup component add "$1" || die "$1. Tried and failed: rustup component add $1"
}

# Without a font Chromium draws no text.
need_browser() {
    have chromium-headless-shell || have chromium || need_debian chromium-headless-shell fonts-liberation
}

# The first Python that is new enough.
python_new_enough() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if have "$python" && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# need_venv FOLDER REQUIREMENT...: a virtual environment that has exactly been asked for these, once.
need_venv() {
    local venv=$1 python stamp
    shift
    stamp=$(printf '%s\n' "$@" | cat - python/pyproject.toml | cksum)
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.installed" 2>/dev/null)" = "$stamp" ] && return
    if ! [ -x "$venv/bin/pip" ]; then
        python=$(python_new_enough) || { need_debian python3 python3-venv && python=$(python_new_enough); } || die "Python 3.10 or newer"
        # Debian splits off what makes virtual environments.
        "$python" -c 'import ensurepip, venv' 2>/dev/null || need_debian python3-venv
        say "making $venv"
        "$python" -m venv "$venv" || die "a Python that can make virtual environments. Try: sudo apt-get install python3-venv"
    fi
    say "installing Python packages into $venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "$@" || die "Python packages. Tried and failed: $venv/bin/pip install $*"
    printf '%s\n' "$stamp" >"$venv/.installed"
}

MINIWOB=miniwob==1.1.0

# need_python [test]: the Python package and the task pages of MiniWoB++. An environment that has the test extra keeps it.
need_python() {
    local extra=examples
    if [ "${1:-}" = test ] || [ -e .venv/.has-test ]; then
        extra='test'
    fi
    need_venv .venv -e "python[$extra]" "$MINIWOB"
    [ "$extra" = examples ] || touch .venv/.has-test
}

# BrowserGym pins packages that nothing else here should be held to.
need_peer() {
    have chromium || need_debian chromium
    need_venv .venv-peer browsergym-core==0.14.3 browsergym-miniwob==0.14.3 "$MINIWOB" psutil
}
