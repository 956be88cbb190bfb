from __future__ import annotations

import importlib.util
from pathlib import Path

PYTHON = Path(__file__).resolve().parent.parent


def test_committed_code_is_what_the_proto_file_generates(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", PYTHON / "scripts" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path)
    generated = sorted(tmp_path.rglob("*.py*"))
    assert generated, "protoc wrote nothing"
    for path in generated:
        committed = PYTHON / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"{committed.name} is stale: run python/scripts/generate.py"


def test_declared_runtimes_are_those_that_the_generated_code_demands() -> None:
    project = (PYTHON / "pyproject.toml").read_text()
    protobuf = (PYTHON / "envfarm/_proto/envfarm_pb2.py").read_text().split("Protobuf Python Version: ")[1].split("\n")[0]
    grpcio = (PYTHON / "envfarm/_proto/envfarm_pb2_grpc.py").read_text().split("GRPC_GENERATED_VERSION = '")[1].split("'")[0]
    assert f'"protobuf>={protobuf},<{int(protobuf.split(".")[0]) + 2}"' in project
    assert f'"grpcio>={grpcio}"' in project
