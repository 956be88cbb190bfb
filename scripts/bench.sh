#!/usr/bin/env bash
# Takes every figure, the peer's too. QUICK=1 skips the long ones.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

need_rust
need_browser
need_python
need_peer
say "building"
cargo build --release --bin envfarm
quick=()
[ "${QUICK:-0}" = 0 ] || quick=(--quick)
export ENVFARM_BIN=$PWD/target/release/envfarm
exec .venv/bin/python -m envfarm.bench --peer .venv-peer/bin/python --out out/bench "${quick[@]}" "$@"
