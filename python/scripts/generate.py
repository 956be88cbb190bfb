"""Regenerates envfarm/_proto from proto/envfarm/v1/envfarm.proto.

Run with the grpcio-tools that the `test` extra pins: its version decides which protobuf and grpcio the generated code
demands at least, and those are the lower bounds in pyproject.toml. A test compares the committed code with this output.
"""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc

PYTHON = Path(__file__).resolve().parent.parent
PROTO = PYTHON.parent / "proto" / "envfarm" / "v1"


def generate(out: Path) -> None:
    """Writes `envfarm/_proto/envfarm_pb2*.py*` below `out`, which must exist."""
    status = protoc.main(
        [
            "protoc",
            # The virtual path makes the generated imports fit the package that the code lives in.
            f"--proto_path=envfarm/_proto={PROTO}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            "envfarm/_proto/envfarm.proto",
        ]
    )
    if status != 0:
        raise SystemExit(status)


if __name__ == "__main__":
    generate(PYTHON)
