"""Starts BrowserGym in its own Python and asks it things."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

#: What the peer's Python must have.
REQUIREMENTS = ("browsergym-core==0.14.3", "browsergym-miniwob==0.14.3", "miniwob==1.1.0")


class PeerError(Exception):
    """BrowserGym could not do what it was asked."""


class Peer:
    """One BrowserGym process, used by one thread at a time."""

    def __init__(self, python: str | Path) -> None:
        command = [str(python), str(Path(__file__).with_name("serve.py"))]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:
            raise PeerError(f"cannot start the peer's Python: {error}") from None

    def tasks(self) -> list[str]:
        """All MiniWoB++ tasks of BrowserGym."""
        tasks: list[str] = self._ask({"list": True})["tasks"]
        return tasks

    def reset(self, task: str, seed: int, pages: str) -> tuple[str, str]:
        """Goal and flattened accessibility tree of a new episode; `pages` is the address of the folder of task pages."""
        reply = self._ask({"task": task, "seed": seed, "pages": pages})
        return reply["goal"], reply["text"]

    def flatten(self, axtree: dict[str, Any]) -> str:
        """What BrowserGym's `flatten_axtree_to_str` makes of an `axtree_object`."""
        text: str = self._ask({"flatten": axtree})["text"]
        return text

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            needed = " ".join(REQUIREMENTS)
            raise PeerError(f"the peer ended with status {self._process.wait()}; its Python needs {needed}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
