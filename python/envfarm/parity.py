"""Compares `envfarm.browsergym` with BrowserGym itself, task by task, for the same seed.

    python -m envfarm.parity --peer .venv-peer/bin/python

Two things must be equal: the goal, and what BrowserGym's own `flatten_axtree_to_str` makes of both `axtree_object`s, ids
included. Each task has one attempt. The exit code is 1 below 95 % (`--minimum`), 2 where a side cannot be started.
BrowserGym pins an old Playwright, hence a Python of its own; `envfarm._peer.client.REQUIREMENTS` says what it needs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from envfarm import browsergym
from envfarm._peer.client import Peer, PeerError
from envfarm.errors import FarmError
from envfarm.farm import Farm
from envfarm.launch import launch


@dataclass(frozen=True)
class Row:
    """The comparison of one task. `difference` is empty where the two are alike."""

    task: str
    seed: int
    goal: bool
    text: bool
    difference: str

    @property
    def equal(self) -> bool:
        return self.goal and self.text


def compare(farm: Farm, peer: Peer, task: str, seed: int) -> Row:
    """One task on both sides. What either cannot do counts as a difference."""
    try:
        env = browsergym.make(f"miniwob.{task}", farm=farm)
        try:
            obs, _ = env.reset(seed=seed)
            # BrowserGym loads the page from the farm too, so that the addresses in the trees are the same.
            goal, text = peer.reset(task, seed, obs["url"].rpartition("/")[0] + "/")
        finally:
            env.close()
    except (FarmError, PeerError) as error:
        return Row(task, seed, False, False, f"{type(error).__name__}: {error}")
    ours = peer.flatten(obs["axtree_object"])
    lines = difflib.unified_diff(
        [f"goal: {goal}", *text.splitlines()],
        [f"goal: {obs['goal']}", *ours.splitlines()],
        "BrowserGym",
        "envfarm",
        lineterm="",
    )
    return Row(task, seed, goal == obs["goal"], text == ours, "\n".join(lines))


def compare_all(farm: Farm, peers: Sequence[Peer], tasks: Iterable[str], seed: int) -> Iterable[Row]:
    """All tasks, as many at once as there are peers, in the order in which they finish."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Row | BaseException] = queue.SimpleQueue()
    count = 0
    for task in tasks:
        waiting.put(task)
        count += 1

    def work(peer: Peer) -> None:
        try:
            while True:
                done.put(compare(farm, peer, waiting.get_nowait(), seed))
        except queue.Empty:
            pass
        except BaseException as error:
            done.put(error)

    for peer in peers:
        threading.Thread(target=work, args=(peer,), daemon=True).start()
    for _ in range(count):
        row = done.get()
        if isinstance(row, BaseException):
            raise row
        yield row


def spread(tasks: Sequence[str], count: int) -> list[str]:
    """`count` tasks, evenly over the list."""
    return [tasks[i * len(tasks) // count] for i in range(min(count, len(tasks)))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m envfarm.parity", description=(__doc__ or "").splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every MiniWoB++ task of BrowserGym (the default)")
    which.add_argument("--tasks", type=int, metavar="N", help="N of them, evenly over the list")
    which.add_argument("--task", nargs="+", metavar="ID", help="these")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="one that has BrowserGym (default: this one)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.json, with every difference, there")
    parser.add_argument("--seed", type=int, default=0, help="given to reset on both sides (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="comparisons at once (default: one a core)")
    parser.add_argument("--minimum", type=float, default=95.0, help="per cent that must be equal (default: 95)")
    parser.add_argument("--diff", action="store_true", help="show every difference")
    parser.add_argument("--binary", type=Path, help="the farm's binary (default: as envfarm.launch finds it)")
    args = parser.parse_args()
    peers: list[Peer] = []
    try:
        peers += [Peer(args.peer) for _ in range(max(args.jobs, 1))]
        every = peers[0].tasks()
        tasks = args.task or (spread(every, args.tasks) if args.tasks else every)
        with launch(binary=args.binary) as farm:
            rows = []
            for row in compare_all(farm, peers, tasks, args.seed):
                rows.append(row)
                print(f"{len(rows):4}/{len(tasks)} {row.task:32} goal {_mark(row.goal)}  tree {_mark(row.text)}", flush=True)
                if args.diff and not row.equal:
                    print(row.difference)
    except (FarmError, PeerError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    finally:
        for peer in peers:
            peer.close()
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    share = 100 * sum(row.equal for row in rows) / len(rows)
    for row in sorted((row for row in rows if not row.equal), key=lambda row: row.task):
        print(f"differs: {row.task}: {'tree' if row.goal else 'goal' if row.text else 'goal and tree'}")
    print(f"{sum(row.equal for row in rows)} of {len(rows)} tasks equal ({share:.1f} %, wanted {args.minimum:g} %)")
    return 0 if share >= args.minimum else 1


def _mark(equal: bool) -> str:
    return "equal  " if equal else "DIFFERS"


if __name__ == "__main__":
    sys.exit(main())
