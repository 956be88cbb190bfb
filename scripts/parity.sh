#!/usr/bin/env bash
# Compares goals and accessibility trees of all MiniWoB++ tasks with BrowserGym's.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

need_rust
need_browser
need_python
need_peer
say "building"
cargo build --release --bin envfarm
export ENVFARM_BIN=$PWD/target/release/envfarm
exec .venv/bin/python -m envfarm.parity --peer .venv-peer/bin/python --out out/parity "$@"
