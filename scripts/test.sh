#!/usr/bin/env bash
# Runs every test and says at the end which part held.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

need_rust
need_browser
need_python test
need_peer

parts=()
failed=0
part() {
    local name=$1 start=$SECONDS verdict=ok
    shift
    say "$name"
    "$@" || { verdict=FAILED; failed=1; }
    parts+=("$(printf '%-8s %-24s %4ds' "$verdict" "$name" $((SECONDS - start)))")
}

rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --no-fail-fast --status-level slow --final-status-level fail
    else
        cargo test --workspace --no-fail-fast --quiet
    fi
}

python_tests() {
    # The Rust tests have just built it; a build of its own would be with other features, and so of everything.
    [ -x target/debug/envfarm ] || cargo build --bin envfarm || return
    (cd python && ENVFARM_BIN=$OLDPWD/target/debug/envfarm ../.venv/bin/python -m pytest -q -n auto)
}

part "Rust tests" rust_tests
part "Python tests" python_tests

say "summary"
printf '%s\n' "${parts[@]}"
exit "$failed"
