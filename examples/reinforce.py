"""REINFORCE in numpy: learns from nothing but rewards which element of a MiniWoB++ page to click.

    python examples/reinforce.py --task click-tab --episodes 600

The policy is a softmax over the page's elements, linear in a few features of each. It knows neither what a button is good
for nor that a name in the goal matters: those are features whose weights start at zero. Sixteen slots play at once, each at
its own pace; every 32 finished episodes make one update. Writes the learning curve to out/reinforce/curve.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scripted_agent import Element, parse

import envfarm

SLOTS, BATCH, STEP_LIMIT, RATE = 16, 32, 2, 2.0
FEATURES = ["is a button", "is a text box", "is a link", "name is in the goal", "has no name", "comes first", "comes last"]


def features(goal: str, elements: list[Element]) -> np.ndarray:
    """One row for each element."""
    rows = []
    for i, element in enumerate(elements):
        role, name = element.role, element.name.lower()
        place = [i == 0, i == len(elements) - 1]
        rows.append(
            [role == "button", role == "textbox", role == "link", bool(name) and name in goal.lower(), not name, *place]
        )
    return np.array(rows, float)


def softmax(scores: np.ndarray) -> np.ndarray:
    scores = np.exp(scores - scores.max())
    return scores / scores.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="click-tab")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/reinforce/curve.png"))
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    weights = np.zeros(len(FEATURES))
    batch: list[tuple[np.ndarray, float]] = []  # for each episode: the gradient of its log-probability, and its reward
    rewards: list[float] = []
    goals, gradients = [""] * SLOTS, [weights] * SLOTS
    started = time.monotonic()

    with (
        envfarm.launch() as farm,
        farm.acquire("miniwob", slots=SLOTS) as lease,
        lease.session(observations=["axtree_txt"]) as session,
    ):

        def begin(slot: int) -> None:
            gradients[slot] = np.zeros_like(weights)
            session.reset(slot, task=args.task, seed=int(rng.integers(2**31)), step_limit=STEP_LIMIT)

        for slot in range(SLOTS):
            begin(slot)
        while len(rewards) < args.episodes:
            for outcome in session.recv():
                slot, transition = outcome.slot, outcome.transition
                if transition is None:  # the farm failed: no reward was earned, so nothing is learned from it
                    begin(slot)
                    continue
                if transition.reset_report:
                    goals[slot] = transition.reset_report.goal
                if transition.done:
                    rewards.append(transition.reward)
                    batch.append((gradients[slot], transition.reward))
                    begin(slot)
                    continue
                elements = [element for element in parse(transition.obs["axtree_txt"]) if element.bid]
                if not elements:
                    session.step(slot, "noop()")
                    continue
                x = features(goals[slot], elements)
                chances = softmax(x @ weights)
                choice = rng.choice(len(elements), p=chances)
                gradients[slot] = gradients[slot] + x[choice] - chances @ x
                session.step(slot, f"click({elements[choice].bid!r})")
            if len(batch) >= BATCH:
                baseline = np.mean([reward for _, reward in batch])
                weights += RATE * np.mean([(reward - baseline) * gradient for gradient, reward in batch], axis=0)
                batch.clear()
                print(f"\r{len(rewards):5} episodes, last 100: {np.mean(rewards[-100:]):.2f}", end="", flush=True)

    took = time.monotonic() - started
    print(f"\n{np.mean(rewards[:100]):.2f} in the first 100 episodes, {np.mean(rewards[-100:]):.2f} in the last; {took:.0f} s")
    for weight, name in sorted(zip(weights, FEATURES, strict=True), reverse=True):
        print(f"{weight:7.2f}  {name}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    plot(rewards, f"REINFORCE on {args.task}: mean reward of the last 100 episodes ({took:.0f} s)").save(args.out)
    print(f"wrote {args.out}")


def plot(rewards: list[float], title: str) -> Image.Image:
    """The moving mean of the rewards over the episodes."""
    width, height, left, top, bottom = 800, 420, 60, 50, 50
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)

    def at(episode: float, reward: float) -> tuple[float, float]:
        return left + (width - left - 30) * episode / len(rewards), height - bottom - (height - top - bottom) * reward

    draw.text((left, 18), title, "black", font)
    for tick in range(6):
        episode, reward = len(rewards) * tick // 5, tick / 5
        draw.line([at(0, reward), at(len(rewards), reward)], "#dddddd")
        draw.text((at(0, reward)[0] - 8, at(0, reward)[1]), f"{reward:.1f}", "black", font, anchor="rm")
        draw.text((at(episode, 0)[0], height - bottom + 10), str(episode), "black", font, anchor="ma")
    draw.text((width / 2, height - 18), "episodes", "black", font, anchor="ma")
    means = [float(np.mean(rewards[max(0, i - 100) : i])) for i in range(20, len(rewards) + 1)]
    draw.line([at(i + 20, mean) for i, mean in enumerate(means)], "#1f6feb", width=3)
    return image


if __name__ == "__main__":
    main()
