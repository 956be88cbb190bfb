"""Starts a farm of this process's own and ends it with it, so that a script or a test needs no set-up at all."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from envfarm.errors import LaunchError
from envfarm.farm import Farm, connect

_LOG_TAIL_LINES = 30
#: Whoever launched the farm is its only client: what still runs is nobody's.
_DRAIN_SECONDS = 5.0
_STOP_SECONDS = 20.0


def find_binary() -> Path:
    """The farm's binary: $ENVFARM_BIN, then `envfarm` on PATH, then a build in the checkout that this package lies in.

    Raises LaunchError that says how to get one.
    """
    named = os.environ.get("ENVFARM_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise LaunchError(f"ENVFARM_BIN is {named!r}, which is not an executable file")
        return Path(named)
    on_path = shutil.which("envfarm")
    if on_path:
        return Path(on_path)
    checkout = Path(__file__).resolve().parents[2]
    for build in ("release", "debug"):
        binary = checkout / "target" / build / "envfarm"
        if os.access(binary, os.X_OK):
            return binary
    raise LaunchError("no envfarm binary: set ENVFARM_BIN, put it on PATH, or run `cargo build --release` in the checkout")


def launch(
    *,
    binary: str | Path | None = None,
    config: str | Path | None = None,
    token_file: str | Path | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Farm:
    """Starts `envfarm serve` on free loopback ports and connects to it.

    The farm ends when the returned `Farm` is closed, and also when this process dies, however it dies.

    config      a farm's TOML file; the built-in configuration if left out
    token_file  its first line is what every client must present
    args, env   further arguments of `serve`, and what is added to this process's environment
    timeout     seconds until it must serve

    Raises LaunchError with the tail of the farm's log.
    """
    folder = Path(tempfile.mkdtemp(prefix="envfarm-"))
    ready, log_file = folder / "ready.json", folder / "log"
    command = [str(binary or find_binary()), "serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    command += ["--ready-file", str(ready), "--until-stdin-closes"]
    if config is not None:
        command += ["--config", str(config)]
    token = None
    if token_file is not None:
        command += ["--token-file", str(token_file)]
        token = Path(token_file).read_text().split("\n")[0].strip()
    with log_file.open("wb") as log:
        try:
            process = subprocess.Popen(
                [*command, *args],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**_miniwob_pages(), **os.environ, **(env or {})},
                # Ctrl-C in the terminal is for this process, which then ends the farm in order.
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise LaunchError(f"cannot start {command[0]}: {error}") from None
    try:
        addresses = _wait_until_ready(process, ready, timeout)
        farm = connect(addresses["grpc"], token=token, timeout=timeout)
    except BaseException as error:
        _stop(process)
        tail = _tail(log_file)
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Exception):
            raise LaunchError(f"the farm did not start: {error}\n{tail}") from error
        raise
    farm.http, farm.pid = addresses["http"], process.pid
    farm.ended = lambda: None if process.poll() is None else f"the farm ended with status {process.poll()}\n{_tail(log_file)}"
    farm.on_close(lambda: shutil.rmtree(folder, ignore_errors=True))
    farm.on_close(lambda: _stop(process))
    return farm


def _miniwob_pages() -> dict[str, str]:
    """Points the farm to the MiniWoB++ task pages of this Python, where it has them."""
    package = importlib.util.find_spec("miniwob")
    if package is None or package.origin is None:
        return {}
    return {"ENVFARM_MINIWOB_HTML": str(Path(package.origin).parent / "html")}


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, timeout: float) -> dict[str, str]:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if ready.exists():
            addresses: dict[str, str] = json.loads(ready.read_text())
            return addresses
        try:
            status = process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise LaunchError(f"it ended with status {status}")
    raise LaunchError(f"it was not ready within {timeout:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The first drains, the second ends at once; both end every host. A kill leaves hosts to the next farm.
    for patience in (_DRAIN_SECONDS, _STOP_SECONDS):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
            break
    else:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:]) or "(its log is empty)"
