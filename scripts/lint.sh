#!/usr/bin/env bash
# Formatting, lints and types, in both languages; a warning is an error.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

need_rust
need_rust_component rustfmt rustfmt
need_rust_component clippy cargo-clippy
need_python test

say "rustfmt"
cargo fmt --all --check
say "clippy"
# Not by RUSTFLAGS, which would build every dependency once more.
cargo clippy --workspace --all-targets --quiet -- -D warnings
cd python
say "ruff"
../.venv/bin/ruff check . ../examples
../.venv/bin/ruff format --check . ../examples
say "mypy"
../.venv/bin/mypy
