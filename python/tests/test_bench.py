"""The report of `make bench`: how a value is judged and shown, without measuring anything."""

import json
from pathlib import Path

import pytest

from envfarm.bench import picture, rows


@pytest.mark.parametrize(
    ("promise", "value", "met"),
    [
        (rows.FRESH, 20.0, True),
        (rows.FRESH, 19.99, False),
        (rows.MEMORY, 25.0, True),
        (rows.MEMORY, 25.1, False),
        (rows.PACE_STEP, 1.0, False),
        (rows.PACE_FAILURES, 0, True),
        (rows.PACE_FAILURES, 1, False),
    ],
)
def test_a_value_is_judged_by_its_target(promise: rows.Promise, value: float, met: bool) -> None:
    assert rows.measured(promise, value, "").met is met


def test_a_skipped_row_is_named_and_neither_met_nor_missed(tmp_path: Path) -> None:
    row = rows.skipped(rows.PACE_STEP, "takes five minutes")
    rows.write([row], tmp_path / "report.json")
    (found,) = json.loads((tmp_path / "report.json").read_text())
    assert set(found) == {"name", "value", "unit", "target", "met", "detail"}
    assert (found["value"], found["met"]) == (None, None)
    assert "takes five minutes" in found["detail"] and found["name"] in rows.table([row])


def test_the_table_says_what_was_missed() -> None:
    text = rows.table([rows.measured(rows.WARM, 293.4, "16 resets"), rows.measured(rows.NULL_RUST, 68_463, "")])
    warm, null = text.splitlines()[1:]
    assert "293 ms" in warm and "NOT MET" in warm and "16 resets" in warm
    assert "68,463 steps/s" in null and "NOT" not in null


def test_a_picture_is_drawn_of_whatever_was_measured(tmp_path: Path) -> None:
    parts = {"queue": 1.0, "act": 2.0, "settle": 0.0, "observe": 30.0, "score": 1.0, "total": 34.0}
    log = [
        {"run": "BrowserGym, 4 environments, 1", "steps_per_s": 3.0},
        {"run": "farm, fresh contexts, 1", "steps_per_s": 70.0, "step_parts_ms": parts, "reset_parts_ms": None},
    ]
    picture.draw([rows.measured(rows.FRESH, 23.3, ""), rows.skipped(rows.PACE_STEP, "")], log, tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000
