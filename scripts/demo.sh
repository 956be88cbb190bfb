#!/usr/bin/env bash
# Plays MiniWoB++ over 16 slots and shows what came of it. Arguments go to the demo.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

need_rust
need_browser
need_python
say "building"
cargo build --release --bin envfarm
export ENVFARM_BIN=$PWD/target/release/envfarm
exec .venv/bin/python examples/demo.py --out out/demo "$@"
