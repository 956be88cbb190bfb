"""What `make demo` runs: the scripted agent on twenty MiniWoB++ tasks over sixteen slots, then figures and a picture.

Writes out/demo/wall.png, the last screen of every slot with its task, goal and reward.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scripted_agent import TASKS, act

import envfarm

STEP_LIMIT = 10


@dataclass
class Slot:
    """What one slot is playing, and what it showed last."""

    task: str = ""
    seed: int = 0
    goal: str = ""
    steps: int = 0
    sent_at: float = 0.0
    reward: float = 0.0
    screen: np.ndarray = field(default_factory=lambda: np.full((214, 332, 3), 255, np.uint8))


@dataclass
class Figures:
    episodes: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))  # reward, steps
    resets: list[float] = field(default_factory=list)  # seconds, as the trainer sees them
    steps: list[float] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0.0
    bytes_per_environment: float = 0.0


class Progress:
    """A bar on standard error; without a terminal, a line now and then."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._said = -1

    def show(self, done: int, text: str) -> None:
        if sys.stderr.isatty():
            filled = 40 * done // self._total
            end = "\n" if done == self._total else ""
            bar = "█" * filled + "·" * (40 - filled)
            print(f"\r{bar} {done}/{self._total} episodes  {text}\033[K", end=end, file=sys.stderr, flush=True)
        elif (quarter := 4 * done // self._total) > self._said:
            self._said = quarter
            print(f"{done}/{self._total} episodes  {text}", file=sys.stderr, flush=True)


def play(farm: envfarm.Farm, slots: list[Slot], episodes: int) -> Figures:
    """Plays `episodes` episodes, the tasks in turn, always as many at once as there are slots."""
    figures = Figures()
    todo = [(TASKS[i % len(TASKS)], i) for i in reversed(range(episodes))]
    progress = Progress(episodes)
    observations = ["screenshot:jpeg~90", "axtree_txt"]
    began = asked = time.monotonic()
    with farm.acquire("miniwob", slots=len(slots)) as lease, lease.session(observations=observations) as session:

        def begin(i: int) -> None:
            if todo:
                slot = slots[i]
                slot.task, slot.seed = todo.pop()
                slot.steps, slot.sent_at = 0, time.monotonic()
                session.reset(i, task=slot.task, seed=slot.seed, step_limit=STEP_LIMIT)

        for i in range(len(slots)):
            begin(i)
        while session.in_flight:
            for outcome in session.recv():
                i, transition = outcome.slot, outcome.transition
                slot, now = slots[i], time.monotonic()
                if transition is None:  # the farm failed, not the agent: the episode is played again
                    figures.failures += 1
                    if figures.failures > episodes:
                        raise envfarm.CommandFailed(outcome.failure, i)
                    todo.append((slot.task, slot.seed))
                    begin(i)
                    continue
                if transition.reset_report:
                    slot.goal = transition.reset_report.goal
                    figures.resets.append(now - slot.sent_at)
                else:
                    slot.steps += 1
                    figures.steps.append(now - slot.sent_at)
                slot.screen, slot.reward = transition.obs["screenshot"], transition.reward
                if transition.done:
                    figures.episodes[slot.task].append((transition.reward, slot.steps))
                    begin(i)
                else:
                    slot.sent_at = now
                    session.step(i, act(slot.goal, transition.obs["axtree_txt"]))
            done = sum(map(len, figures.episodes.values()))
            progress.show(done, f"{len(figures.steps) / (time.monotonic() - began):.0f} steps/s")
            if time.monotonic() - asked > 1:
                asked = time.monotonic()
                memory = farm.status().memory_bytes / len(slots)
                figures.bytes_per_environment = max(figures.bytes_per_environment, memory)
    figures.seconds = time.monotonic() - began
    return figures


def report(figures: Figures) -> str:
    lines = [f"{'task':20} {'episodes':>8} {'success':>8} {'steps':>6}"]
    for task, played in sorted(figures.episodes.items()):
        rewards, steps = zip(*played, strict=True)
        success = sum(reward > 0 for reward in rewards) / len(rewards)
        lines.append(f"{task:20} {len(played):8} {success:8.0%} {np.mean(steps):6.1f}")
    everything = [episode for played in figures.episodes.values() for episode in played]
    success = sum(reward > 0 for reward, _ in everything) / max(len(everything), 1)
    lines.append(f"{'in all':20} {len(everything):8} {success:8.0%} {np.mean([steps for _, steps in everything]):6.1f}")
    lines.append("")
    lines.append(f"{len(figures.steps) / figures.seconds:.1f} steps/s, {figures.failures} failures of the farm")
    for name, seconds in (("reset", figures.resets), ("step", figures.steps)):
        p50, p99 = np.percentile(seconds, [50, 99]) * 1000
        lines.append(f"{name:5} p50 {p50:5.0f} ms   p99 {p99:5.0f} ms")
    memory = figures.bytes_per_environment
    lines.append(f"{memory / 2**20:.0f} MB per environment (browser and all)" if memory else "memory was not measured yet")
    return "\n".join(lines)


def wall(slots: list[Slot]) -> Image.Image:
    """The last screens, four in a row, each over its task, goal and reward."""
    width, height, text, gap = 332, 214, 84, 12
    rows = -(-len(slots) // 4)
    image = Image.new("RGB", (4 * (width + gap) + gap, rows * (height + text + gap) + gap), "#e9ecef")
    draw = ImageDraw.Draw(image)
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(14)
    for i, slot in enumerate(slots):
        x, y = gap + i % 4 * (width + gap), gap + i // 4 * (height + text + gap)
        draw.rectangle([x, y, x + width - 1, y + height + text - 1], "white")
        image.paste(Image.fromarray(slot.screen).resize((width, height)), (x, y))
        draw.line([x, y + height, x + width - 1, y + height], "#ced4da")
        draw.text((x + 8, y + height + 6), slot.task, "#212529", bold)
        colour = "#2b8a3e" if slot.reward > 0 else "#c92a2a"
        draw.text((x + width - 8, y + height + 6), f"reward {slot.reward:g}", colour, bold, anchor="ra")
        goal = textwrap.wrap(slot.goal, 46, max_lines=3, placeholder=" …")
        draw.multiline_text((x + 8, y + height + 28), "\n".join(goal), "#495057", plain)
    return image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    args = parser.parse_args()
    slots = [Slot() for _ in range(args.slots)]
    try:
        with envfarm.launch() as farm:
            figures = play(farm, slots, args.episodes)
    except envfarm.FarmError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(report(figures))
    args.out.mkdir(parents=True, exist_ok=True)
    wall(slots).save(args.out / "wall.png")
    print(f"wrote {args.out / 'wall.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
