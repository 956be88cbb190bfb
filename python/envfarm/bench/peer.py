"""The peer under load: BrowserGym on the same task with the same clicks, each environment a process of its own.

Runs in the peer's Python, which does not have this package: `python peer.py --envs 4 --episodes 2`. Prints one JSON object.
`slow_mo` and `pre_observation_delay` are 0, the fastest that BrowserGym allows; nothing else of it is changed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "_peer"))


def play(index: int, task: str, episodes: int, steps: int, out: Any, measured: Any) -> None:
    import gymnasium
    import miniwob  # type: ignore[import-untyped, import-not-found, unused-ignore]

    os.environ["MINIWOB_URL"] = f"file://{Path(miniwob.__file__).parent}/html/miniwob/"
    import browsergym.miniwob  # noqa: F401  (registers the environments)

    env = gymnasium.make(f"browsergym/miniwob.{task}", slow_mo=0, pre_observation_delay=0.0)
    clicks = random.Random(index)
    resets, times = [], []
    began = time.perf_counter()
    for episode in range(episodes):
        before = time.perf_counter()
        env.reset(seed=1_000_000 * index + episode)
        resets.append(time.perf_counter() - before)
        for _ in range(steps):
            before = time.perf_counter()
            # Where the goal stands: nothing there ends an episode.
            *_, terminated, truncated, _ = env.step(f"mouse_click({clicks.randrange(1, 160)}, {clicks.randrange(1, 50)})")
            times.append(time.perf_counter() - before)
            if terminated or truncated:
                break
    out.put((resets, times, time.perf_counter() - began))
    measured.wait()
    env.close()


def pss_mb() -> float:
    """PSS of this process and all that it started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--task", default="click-test-2")
    args = parser.parse_args()
    # Found by path, beside this package.
    from serve import install_launcher  # type: ignore[import-not-found, unused-ignore]

    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="envfarm-peer-") as root:
        install_launcher(root)
        out, measured = context.SimpleQueue(), context.Event()
        workers = [
            context.Process(target=play, args=(index, args.task, args.episodes, args.steps, out, measured), daemon=False)
            for index in range(args.envs)
        ]
        for worker in workers:
            worker.start()
        found = [out.get() for _ in workers]
        memory = pss_mb()
        measured.set()
        for worker in workers:
            worker.join()
    resets = [time for of_worker, _, _ in found for time in of_worker]
    steps = [time for _, of_worker, _ in found for time in of_worker]
    answer = {
        "envs": args.envs,
        "steps": len(steps),
        "steps_per_s": len(steps) / max(wall for _, _, wall in found),
        "reset_p50_s": statistics.median(resets),
        "step_p50_s": statistics.median(steps),
        "pss_mb_per_env": memory / args.envs,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
