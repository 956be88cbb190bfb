"""The report as a picture: how each value stands to its target, steps/s side by side, and where a command's time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from envfarm.bench.rows import Row, number

WIDTH = 1280
MARGIN = 40
INK, PALE, GRID = "#1f2937", "#6b7280", "#e5e7eb"
GOOD, BAD, PEER, BARE, FARM = "#2f9e6e", "#d1495b", "#9aa5b1", "#e0a030", "#2f6fb0"
#: Parts of a command's time, as the farm tells them.
PARTS = {"queue": "#9aa5b1", "act": "#2f6fb0", "settle": "#57a6d9", "score": "#e0a030", "observe": "#2f9e6e"}


class _Sheet:
    """A page that is written from top to bottom."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH, height), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.y = MARGIN

    def text(self, x: float, y: float, text: str, size: int = 16, fill: str = INK, anchor: str = "lm") -> None:
        self.draw.text((x, y), text, fill=fill, font=ImageFont.load_default(size), anchor=anchor)

    def heading(self, text: str, note: str = "") -> None:
        self.text(MARGIN, self.y + 12, text, 22)
        if note:
            self.text(WIDTH - MARGIN, self.y + 14, note, 14, PALE, "rm")
        self.y += 44

    def bar(self, left: float, right: float, fill: str, height: int = 20) -> None:
        self.draw.rectangle((left, self.y, max(left + 1, right), self.y + height), fill=fill)


def draw(rows: Sequence[Row], log: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes the picture as PNG."""
    rates = _rates(log)
    times = [run for run in log if run.get("step_parts_ms") and run["step_parts_ms"]["observe"] > 1]
    sheet = _Sheet(260 + 34 * (len(rows) + len(rates)) + 34 * 2 * len(times))
    _promises(sheet, rows)
    _throughput(sheet, rates)
    _where_time_goes(sheet, times)
    sheet.image.crop((0, 0, WIDTH, min(sheet.y + MARGIN, sheet.image.height))).save(path)


def _promises(sheet: _Sheet, rows: Sequence[Row]) -> None:
    sheet.heading("Promised and measured", "the line is the target; longer is better where it says >=, shorter elsewhere")
    left, target_at, right = 430, 760, 980
    for row in rows:
        target = float(row.target.split()[-1].replace(",", ""))
        sheet.text(MARGIN, sheet.y + 10, row.name, 15)
        if row.value is None:
            sheet.text(left, sheet.y + 10, "skipped", 15, PALE)
        else:
            share = row.value / target if target else row.value
            sheet.bar(left, min(left + (target_at - left) * share, right), GOOD if row.met else BAD)
        sheet.draw.line((target_at, sheet.y - 4, target_at, sheet.y + 24), fill=INK, width=2)
        value = "" if row.value is None else f"{number(row.value)} {row.unit}".strip()
        sheet.text(WIDTH - MARGIN, sheet.y + 10, f"{value}   ({row.target})", 15, INK, "rm")
        sheet.y += 34
    sheet.y += 16


def _rates(log: Sequence[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """Name, median steps/s and colour of everything that plays MiniWoB at full speed; rounds are told by the last word."""
    rounds: dict[str, list[float]] = {}
    for run in log:
        name, comma, turn = run["run"].rpartition(", ")
        if comma and turn.isdigit() and not name.startswith("null"):
            rounds.setdefault(name, []).append(run["steps_per_s"])
    colours = {"BrowserGym": PEER, "bare": BARE, "farm": FARM}
    found = [
        (name, median(of), next(c for start, c in colours.items() if name.startswith(start))) for name, of in rounds.items()
    ]
    return sorted(found, key=lambda item: item[1])


def _throughput(sheet: _Sheet, rates: Sequence[tuple[str, float, str]]) -> None:
    if not rates:
        return
    sheet.heading("MiniWoB++ click-test-2, steps/s", "click + JPEG + BrowserGym dict, 10-step episodes, 16 slots")
    left, right = 430, 1100
    most = max(rate for _, rate, _ in rates)
    for name, rate, colour in rates:
        sheet.text(MARGIN, sheet.y + 10, name, 15)
        end = left + (right - left) * rate / most
        sheet.bar(left, end, colour)
        sheet.text(end + 10, sheet.y + 10, number(rate), 15)
        sheet.y += 34
    sheet.y += 16


def _where_time_goes(sheet: _Sheet, runs: Sequence[dict[str, Any]]) -> None:
    if not runs:
        return
    sheet.heading("Where the time of a command goes, mean in ms")
    x = 430.0
    for part, colour in PARTS.items():
        sheet.draw.rectangle((x, sheet.y, x + 14, sheet.y + 14), fill=colour)
        sheet.text(x + 20, sheet.y + 7, part, 14)
        x += 100
    sheet.y += 30
    bars = [
        (f"{run['run']}: {kind}", run[key])
        for run in runs
        for kind, key in (("step", "step_parts_ms"), ("reset", "reset_parts_ms"))
        if run.get(key)
    ]
    # Waiting in line at full load is a property of the load: everything longer than this is cut.
    most = 2 * median(parts["total"] for _, parts in bars)
    left, right = 430, 1100
    for name, parts in bars:
        sheet.text(MARGIN, sheet.y + 9, name, 13)
        x = left
        for part, colour in PARTS.items():
            end = min(x + (right - left) * parts[part] / most, right)
            if end > x:
                sheet.bar(x, end, colour, 18)
            x = end
        sheet.text(right + 10, sheet.y + 9, number(parts["total"]), 14)
        sheet.y += 28
    sheet.draw.line((left, sheet.y, right, sheet.y), fill=GRID)
