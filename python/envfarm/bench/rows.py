"""The rows of the report: what each promises, and how a measured value is judged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Promise:
    """One row as published: its name, unit and target, before anything was measured."""

    name: str
    unit: str
    target: float
    #: How the value must stand to the target: ">=", "<=" or "<".
    relation: str

    def met(self, value: float) -> bool:
        if self.relation == ">=":
            return value >= self.target
        return value <= self.target if self.relation == "<=" else value < self.target


@dataclass(frozen=True)
class Row:
    """One line of report.json. `value` and `met` are None where the row was skipped."""

    name: str
    value: float | None
    unit: str
    target: str
    met: bool | None
    detail: str


FRESH = Promise("steps/s against BrowserGym, fresh contexts", "x", 20, ">=")
IN_PLACE = Promise("steps/s against BrowserGym, in-page restart", "x", 30, ">=")
SHARE = Promise("share of a bare CDP loop's throughput", "", 0.85, ">=")
MEMORY = Promise("PSS per environment at 64 slots", "MB", 25, "<=")
WARM = Promise("reset p50 at 4 slots, warm pool", "ms", 70, "<=")
PREPARED = Promise("reset p50 at 4 slots, after Prepare", "ms", 10, "<=")
PACE_STEP = Promise("256 slots at LLM pace: p99 step", "s", 1, "<")
PACE_FAILURES = Promise("256 slots at LLM pace: failures", "", 0, "<=")
PACE_MEMORY = Promise("256 slots at LLM pace: PSS in all", "GB", 7, "<")
NULL_RUST = Promise("null environment, 10,000 slots, Rust client", "steps/s", 50_000, ">=")
NULL_PYTHON = Promise("null environment, 1,000 slots, Python client", "steps/s", 8_000, ">=")


def measured(promise: Promise, value: float, detail: str) -> Row:
    return Row(promise.name, round(value, 4), promise.unit, target(promise), promise.met(value), detail)


def skipped(promise: Promise, why: str) -> Row:
    return Row(promise.name, None, promise.unit, target(promise), None, f"skipped: {why}")


def target(promise: Promise) -> str:
    return f"{promise.relation} {promise.target:,g}"


def table(rows: Iterable[Row]) -> str:
    """All rows as text, aligned."""
    cells = [("what", "value", "target", "", "how")]
    for row in rows:
        value = "-" if row.value is None else f"{number(row.value)} {row.unit}".strip()
        mark = {True: "met", False: "NOT MET", None: "skipped"}[row.met]
        cells.append((row.name, value, f"{row.target} {row.unit}".strip(), mark, row.detail))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), line[1].rjust(widths[1]), line[2].rjust(widths[2]), line[3].ljust(widths[3]), line[4]]
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def number(value: float) -> str:
    """Three digits that say something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write(rows: Iterable[Row], path: Path) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
