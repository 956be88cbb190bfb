"""What is measured, in which order, and which rows come of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from envfarm import load as python_load
from envfarm.bench import rows
from envfarm.bench.rows import Row, measured, skipped
from envfarm.bench.runs import Run, Runner, serve
from envfarm.farm import Farm

#: As `envfarm bench` takes them. Everything that a step is compared on is in these.
EPISODES = ("--slots", "16", "--episode-steps", "10", "--task", "click-test-2", "--observe", "screenshot:jpeg,browsergym")
#: Settings of the bare loop that are tried: browsers, page loads and steps in flight. The best counts.
BARE = ((1, 2, 8), (1, 3, 16), (2, 3, 16))
NULL_FARM = '[environments.null]\nbackend = "null"\nsuite = "null"\nmax_slots = 16384\nhosts = { max = 16, sandboxes = 2048 }\n'
NULL_LOAD = ("--environment", "null", "--task", "noop", "--episode-steps", "0", "--observe", "")


@dataclass(frozen=True)
class Size:
    """How long a whole run takes. Times in seconds."""

    rounds: int
    browsers: int
    resets: int
    null: int
    peers: tuple[int, ...]
    peer_episodes: int
    bare: tuple[tuple[int, int, int], ...]
    pace: int | None


FULL = Size(rounds=3, browsers=20, resets=30, null=5, peers=(1, 2, 4, 8), peer_episodes=2, bare=BARE, pace=300)
QUICK = Size(rounds=1, browsers=8, resets=10, null=3, peers=(4,), peer_episodes=1, bare=BARE[1:2], pace=None)


class Bench:
    def __init__(self, runner: Runner, size: Size, say: Callable[[str], None]) -> None:
        self.runner = runner
        self.size = size
        self.say = say

    def rows(self) -> list[Row]:
        """Measures everything; the rows in the order in which they were promised."""
        with serve(self.runner.binary, "") as farm:
            throughput = self._throughput(farm)
            resets = self._resets(farm)
            memory = self._memory(farm)
        # A new farm: what the runs before did to its browsers is not part of the row.
        with serve(self.runner.binary, "") as farm:
            pace = self._pace(farm)
        return [*throughput, memory, *resets, *pace, *self._null()]

    def _throughput(self, farm: Farm) -> list[Row]:
        fresh: list[Run] = []
        in_place: list[Run] = []
        bare: dict[tuple[int, int, int], list[Run]] = {setting: [] for setting in self.size.bare}
        peer: dict[int, list[Run]] = {envs: [] for envs in self.size.peers}
        time_option = ("--time", f"{self.size.browsers}s")
        for turn in range(1, self.size.rounds + 1):
            # Side by side in each round, so that a slow quarter of an hour is slow for all.
            fresh.append(self._told(self.runner.load(f"farm, fresh contexts, {turn}", farm, *EPISODES, *time_option)))
            for setting in self.size.bare:
                hosts, loads, steps = (str(number) for number in setting)
                name = f"bare loop, {hosts} browsers, {loads} loads, {steps} steps, {turn}"
                limits = ("--hosts", hosts, "--loads", loads, "--steps", steps)
                bare[setting].append(self._told(self.runner.bare(name, *EPISODES, *time_option, *limits)))
            name = f"farm, in-page restart, {turn}"
            in_place.append(self._told(self.runner.load(name, farm, *EPISODES, *time_option, "--mode", "in_place")))
            for envs in self.size.peers:
                name = f"BrowserGym, {envs} environments, {turn}"
                episodes = str(self.size.peer_episodes)
                peer[envs].append(self._told(self.runner.peer(name, "--envs", str(envs), "--episodes", episodes)))
        farm_rate, place_rate = _rate(fresh), _rate(in_place)
        setting, bare_rate = max(((key, _rate(runs)) for key, runs in bare.items()), key=lambda item: item[1])
        envs, peer_rate = max(((key, _rate(runs)) for key, runs in peer.items()), key=lambda item: item[1])
        rounds = f"median of {self.size.rounds}" if self.size.rounds > 1 else "one round"
        against = f"BrowserGym {peer_rate:.2f} at {envs} of {list(self.size.peers)} environments"
        return [
            measured(
                rows.FRESH, farm_rate / peer_rate, f"{farm_rate:.1f} steps/s, 16 slots, {rounds}; {against}{_troubles(fresh)}"
            ),
            measured(rows.IN_PLACE, place_rate / peer_rate, f"{place_rate:.1f} steps/s; {against}{_troubles(in_place)}"),
            measured(
                rows.SHARE,
                farm_rate / bare_rate,
                f"{farm_rate:.1f} of {bare_rate:.1f} steps/s; the bare loop at its best of {len(bare)} settings: "
                f"{setting[0]} browsers, {setting[1]} loads, {setting[2]} steps in flight{_troubles(bare[setting])}",
            ),
        ]

    def _resets(self, farm: Farm) -> list[Row]:
        options = ("--slots", "4", "--interval", "250ms", "--time", f"{self.size.resets}s")
        found = []
        for promise, name, more in (
            (rows.WARM, "resets from the warm pool", ()),
            (rows.PREPARED, "resets after Prepare", ("--prepare",)),
        ):
            run = self.runner.load(name, farm, *options, *more)
            reset = run["reset_ms"]
            self.say(f"{name}: p50 {reset['p50']:.1f} ms, p99 {reset['p99']:.1f} ms")
            detail = (
                f"{reset['count']} resets ({_counts(run['strategies'])}), p99 {reset['p99']:.0f} ms; 10-step episodes, "
                f"a step every 250 ms a slot, first observation included{_troubles([run])}"
            )
            found.append(measured(promise, reset["p50"], detail))
        return found

    def _memory(self, farm: Farm) -> Row:
        # Slow enough that all 64 are alive and none is hurried, long enough for the farm to measure its hosts itself.
        run = self.runner.load("64 slots", farm, "--slots", "64", "--interval", "2s", "--episode-steps", "0", "--time", "15s")
        memory = run["memory"]
        pss = memory["pss_mb"] or memory["told_mb"]
        self.say(f"64 slots: {pss:.0f} MB in {memory['processes']} processes")
        detail = (
            f"{pss:.0f} MB of PSS in {memory['processes']} processes of {memory['hosts']} hosts with "
            f"{memory['sandboxes']} sandboxes; the farm says {memory['told_mb']:.0f} MB{_troubles([run])}"
        )
        return measured(rows.MEMORY, pss / 64, detail)

    def _pace(self, farm: Farm) -> list[Row]:
        promises = (rows.PACE_STEP, rows.PACE_FAILURES, rows.PACE_MEMORY)
        if self.size.pace is None:
            return [skipped(promise, "takes five minutes") for promise in promises]
        options = ("--slots", "256", "--interval", "5s", "--time", f"{self.size.pace}s")
        run = self.runner.load("256 slots, a step every 5 s", farm, *options, limit=self.size.pace + 300.0)
        memory, step = run["memory"], run["step_ms"]
        failures = sum(run["failures"].values())
        pss = memory["pss_mb"] or memory["told_mb"]
        self.say(f"256 slots: p99 {step['p99']:.0f} ms, {failures} failures, {pss:.0f} MB")
        reset = run["reset_ms"]
        most = 256 * self.size.pace // 5
        episodes = (
            f"{run['steps']} steps of at most {most}, {run['episodes']} fresh contexts in {run['seconds']:.0f} s; "
            f"reset p50 {reset['p50']:.0f} ms, p99 {reset['p99']:.0f} ms"
        )
        return [
            measured(rows.PACE_STEP, step["p99"] / 1000, f"p50 {step['p50']:.0f} ms, max {step['max']:.0f} ms; {episodes}"),
            measured(rows.PACE_FAILURES, failures, f"{_counts(run['failures']) or 'none'}; {episodes}"),
            measured(
                rows.PACE_MEMORY,
                pss / 1024,
                f"peak PSS of {memory['hosts']} hosts, {memory['processes']} processes, {memory['sandboxes']} sandboxes",
            ),
        ]

    def _null(self) -> list[Row]:
        rust, python = [], []
        with serve(self.runner.binary, NULL_FARM) as farm:
            options = (*NULL_LOAD, "--slots", "10000", "--time", f"{self.size.null}s", "--warmup", "1s")
            python_load.measure(farm, 1000, 1.0)
            for turn in range(1, self.size.rounds + 1):
                rust.append(self._told(self.runner.load(f"null, Rust client, {turn}", farm, *options)))
                began = time.monotonic()
                run = dict(python_load.measure(farm, 1000, self.size.null), took_s=time.monotonic() - began)
                python.append(self._told(self.runner.keep(f"null, Python client, {turn}", run)))
        rounds = f"median of {self.size.rounds} rounds of {self.size.null} s"
        step = rust[-1]["step_ms"]
        return [
            measured(rows.NULL_RUST, _rate(rust), f"{rounds}, one stream, p50 {step['p50']:.0f} ms a step{_troubles(rust)}"),
            measured(rows.NULL_PYTHON, _rate(python), f"{rounds}, one stream, one thread"),
        ]

    def _told(self, run: Run) -> Run:
        self.say(f"{self.runner.log[-1]['run']}: {run['steps_per_s']:,.1f} steps/s{_troubles([run])}")
        return run


def _rate(runs: list[Run]) -> float:
    return float(median(run["steps_per_s"] for run in runs))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _troubles(runs: list[Run]) -> str:
    """What went wrong in these runs, to be said beside their figures; empty if nothing did."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, count in run.get("failures", {}).items():
            counts[name] = counts.get(name, 0) + count
        for name in ("unclean", "action_errors", "observation_errors"):
            if run.get(name):
                counts[name] = counts.get(name, 0) + run[name]
    return f"; FAILED: {_counts(counts)}" if counts else ""
