"""Single runs: the load generators and the peer, each a process that prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envfarm.farm import Farm
from envfarm.launch import launch

Run = dict[str, Any]


class BenchError(Exception):
    """A run that gave no figures."""


class Runner:
    """Starts runs and keeps what they found."""

    def __init__(self, binary: Path, peer: Path) -> None:
        self.binary = binary
        self.peer_python = peer
        #: Everything measured, in order.
        self.log: list[Run] = []

    def load(self, name: str, farm: Farm, *options: str, limit: float = 120.0) -> Run:
        """One run of `envfarm bench` against `farm`; `limit` is in seconds."""
        return self._run(name, [str(self.binary), "bench", "--connect", farm.address, *options], limit)

    def bare(self, name: str, *options: str, limit: float = 120.0) -> Run:
        """One run of the bare loop, which starts browsers of its own."""
        return self._run(name, [str(self.binary), "bench", "--bare", *options], limit)

    def peer(self, name: str, *options: str, limit: float = 600.0) -> Run:
        """One run of BrowserGym."""
        script = Path(__file__).with_name("peer.py")
        return self._run(name, [str(self.peer_python), str(script), *options], limit)

    def keep(self, name: str, found: Run) -> Run:
        self.log.append({"run": name, **found})
        return found

    def _run(self, name: str, command: Sequence[str], limit: float) -> Run:
        env = {"RUST_LOG": "warn", **os.environ}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=env, check=False)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{name}: no end after {limit:g} s") from None
        except OSError as error:
            raise BenchError(f"{name}: {error}") from None
        lines = done.stdout.splitlines()
        if done.returncode != 0 or not lines:
            tail = "\n".join(done.stderr.splitlines()[-8:])
            raise BenchError(f"{name}: ended with status {done.returncode}\n{tail}")
        found: Run = json.loads(lines[-1])
        return self.keep(name, found)


@contextmanager
def serve(binary: Path, config: str) -> Iterator[Farm]:
    """A farm of its own with this configuration; empty for the built-in one."""
    with tempfile.TemporaryDirectory(prefix="envfarm-bench-") as folder:
        path = Path(folder) / "farm.toml"
        path.write_text(config)
        # A folder of its own for hosts: another farm on this machine is no concern of ours.
        state = f'[farm]\nstate_dir = "{folder}/state"\n'
        path.write_text(state + config)
        with launch(binary=binary, config=path, env={"RUST_LOG": "warn"}) as farm:
            yield farm
