"""BrowserGym itself against `envfarm.browsergym`, on twenty tasks; `python -m envfarm.parity` compares all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import envfarm
from envfarm._peer.client import REQUIREMENTS, Peer
from envfarm.parity import compare_all, spread

BESIDE = Path(__file__).resolve().parents[2] / ".venv-peer" / "bin" / "python"


#: Tasks whose trees are known to differ, and why. Anything else that differs is a fault.
DIFFERENT = {
    "copy-paste": "text boxes wrap a character later than in the full Chromium that BrowserGym drives",
    "copy-paste-2": "as copy-paste",
    "stock-market": "a timer shows the first price, and BrowserGym looks later",
    "terminal": "a timer moves the focus and a cursor blinks, and BrowserGym looks later",
    "use-colorwheel-2": "BrowserGym writes the colour of a box into the goal, the page does not",
}


@pytest.mark.timeout(900)
def test_goal_and_tree_are_those_of_browsergym(farm: envfarm.Farm) -> None:
    python = Path(os.environ.get("ENVFARM_PEER_PYTHON", BESIDE))
    if not python.exists():
        pytest.fail(
            f"no Python with BrowserGym at {python}: run `make test` or `make parity` in the checkout, or make one "
            f"(python3 -m venv DIR && DIR/bin/pip install {' '.join(REQUIREMENTS)}) and name it by ENVFARM_PEER_PYTHON"
        )
    with Peer(python) as one, Peer(python) as two:
        tasks = spread([task for task in one.tasks() if task not in DIFFERENT], 20)
        rows = list(compare_all(farm, [one, two], tasks, seed=3))
    assert len(rows) == 20
    assert not [row for row in rows if not row.equal], "\n\n".join(f"{row.task}\n{row.difference}" for row in rows)
