"""The client against the real binary and its `null` environment: what the fake farm only claims must hold here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gymnasium.vector import AutoresetMode

import envfarm
import envfarm.aio
from envfarm.launch import find_binary
from envfarm.load import measure


def test_the_farm_says_what_it_offers(farm: envfarm.Farm) -> None:
    assert {"null", "miniwob"} <= {environment.name for environment in farm.environments()}
    assert {task.id for task in farm.tasks("null")} == {"noop", "ten-steps"}
    assert len({task.id for task in farm.tasks("miniwob")}) > 100
    assert farm.status().version and farm.http


def test_an_episode_terminates_with_its_reward(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=3) as lease, lease.session(observations=["goal"]) as session:
        for slot in range(3):
            session.reset(slot, task="ten-steps", seed=slot)
        for outcome in session.recv(min=3):
            assert outcome.transition.reset_report.task == "ten-steps"
            assert outcome.transition.reset_report.seed == outcome.slot
            assert outcome.transition.obs["goal"] == outcome.transition.reset_report.goal
        for step in range(1, 11):
            for slot in range(3):
                session.step(slot, "noop()")
            for outcome in session.recv(min=3):
                assert outcome.failure is None and outcome.step == step
                assert outcome.transition.terminated == (step == 10)
                assert outcome.transition.reward == (1.0 if step == 10 else 0.0)
                assert outcome.timing.total >= 0


def test_what_is_wrong_with_a_command_is_its_outcome_and_the_stream_goes_on(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=1) as lease, lease.session() as session:
        session.step(0, "noop()")
        assert session.recv()[0].failure.code == "no_episode"
        session.reset(0, task="no-such-task")
        assert session.recv()[0].failure.code == "unknown_task"
        session.reset(0, snapshot="no-such-snapshot")
        assert session.recv()[0].failure.code == "unknown_snapshot"
        session.reset(0, task="noop", observations=["screenshot"])
        assert session.recv()[0].failure is not None
        session.reset(0, task="noop")
        assert session.recv()[0].failure is None
        session.step(0, "this is no action")
        (outcome,) = session.recv()
        assert outcome.transition.action_result.status == "parse_error" and outcome.transition.action_result.error


@pytest.mark.parametrize("dialect", ["browsergym", "webarena", "autowebglm", "webrl"])
def test_a_text_that_is_too_long_is_an_action_error_in_every_dialect(farm: envfarm.Farm, dialect: str) -> None:
    with farm.acquire("null", slots=1) as lease, lease.session() as session:
        session.reset(0, task="noop")
        session.recv()
        session.step(0, "x" * (1 << 20) + "x", dialect=dialect)
        (outcome,) = session.recv()
        assert outcome.failure is None and outcome.transition.action_result.status == "parse_error"


def test_one_snapshot_starts_many_slots(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=4) as lease, lease.session() as session:
        session.reset(0, task="ten-steps", seed=3)
        session.recv()
        for _ in range(4):
            session.step(0, "noop()")
            session.recv()
        session.snapshot(0, level="replay")
        snapshot = session.recv()[0].snapshot
        assert (snapshot.task, snapshot.seed, snapshot.step, snapshot.level) == ("ten-steps", 3, 4, "replay")
        assert snapshot.id in {known.id for known in farm.snapshots("null")}
        for slot in range(4):
            session.reset(slot, snapshot=snapshot if slot % 2 else snapshot.id)
        assert [outcome.failure for outcome in session.recv(min=4)] == [None] * 4
        for _ in range(6):
            for slot in range(4):
                session.step(slot, "noop()")
            outcomes = session.recv(min=4)
        assert [outcome.transition.terminated for outcome in outcomes] == [True] * 4
        farm.delete_snapshot(snapshot)
        assert snapshot.id not in {known.id for known in farm.snapshots("null")}


def test_a_prepared_episode_is_taken_by_its_reset(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=1) as lease, lease.session() as session:
        session.reset(0, task="noop", seed=1)
        session.recv()
        session.prepare(0, task="noop", seed=2)
        assert session.recv()[0].prepared
        session.reset(0, task="noop", seed=2)
        assert session.recv()[0].transition.reset_report.strategy == "prepared"


def test_a_second_session_takes_over_and_the_first_is_told(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=1) as lease, lease.session() as first:
        first.reset(0, task="noop")
        first.recv()
        with lease.session() as second:
            assert second.position(0) == (1, 0)
            first.step(0, "noop()")
            with pytest.raises(envfarm.SessionReplaced):
                first.recv()
            second.step(0, "noop()")
            assert second.recv()[0].step in (1, 2)


def test_a_released_lease_ends_its_session(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=1) as lease, lease.session() as session:
        session.reset(0, task="noop")
        session.recv()
        lease.release()
        session.step(0, "noop()")
        with pytest.raises(envfarm.LeaseLost):
            while True:
                session.recv()


def test_a_lease_outlives_its_time_to_live_while_its_owner_lives(farm: envfarm.Farm) -> None:
    with farm.acquire("null", slots=1, ttl=1.0) as lease:
        time.sleep(2.5)  # the time itself is what is tested
        with lease.session() as session:
            session.reset(0, task="noop")
            assert session.recv()[0].failure is None


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_environment_plays(farm: envfarm.Farm, mode: AutoresetMode) -> None:
    env = envfarm.make_vec(
        "null", tasks=["ten-steps"], num_envs=4, farm=farm, observations=["goal", "last_action_error"], autoreset_mode=mode
    )
    obs, infos = env.reset(seed=3)
    assert obs in env.observation_space
    total = 0.0
    for _ in range(30):
        obs, rewards, terminated, truncated, infos = env.step(["noop()"] * 4)
        total += rewards.sum()
        assert obs in env.observation_space and not truncated.any() and "failure" not in infos
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})
    assert total == 4 * (2 if mode is AutoresetMode.NEXT_STEP else 3)
    env.close()


def test_the_async_session_plays(farm: envfarm.Farm) -> None:
    async def play() -> float:
        async with (
            await envfarm.aio.connect(farm.address) as connected,
            await connected.acquire("null", slots=8) as lease,
            await lease.session() as session,
        ):
            for slot in range(8):
                session.reset(slot, task="ten-steps", seed=slot)
            total = 0.0
            while session.in_flight:
                for outcome in await session.recv():
                    total += outcome.transition.reward
                    if not outcome.transition.done:
                        session.step(outcome.slot, "noop()")
            return total

    assert asyncio.run(play()) == 8.0


def test_a_thousand_slots_are_driven_by_one_session(farm: envfarm.Farm) -> None:
    assert measure(farm, 1000, 1.0)["steps_per_s"] > 500  # of a debug build; the real figure is taken by `envfarm.load`


# ---- Launching ----------------------------------------------------------------------------------------------------------


def test_a_farm_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    config = tmp_path / "farm.toml"
    config.write_text("[server]\nlistne = 3\n")
    with pytest.raises(envfarm.LaunchError, match="listne"):
        envfarm.launch(config=config)


def test_a_binary_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVFARM_BIN", "/nonexistent/envfarm")
    with pytest.raises(envfarm.LaunchError, match="ENVFARM_BIN is '/nonexistent/envfarm'"):
        find_binary()


NULL = '[environments.null]\nbackend = "null"\nsuite = "null"\n'


def test_a_token_is_demanded_where_the_farm_has_one(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(NULL)
    (tmp_path / "token").write_text("a-long-secret\n")
    with pytest.raises(envfarm.LaunchError, match="unauthenticated"):
        envfarm.launch(config=tmp_path / "farm.toml", args=["--token-file", str(tmp_path / "token")])
    with envfarm.launch(config=tmp_path / "farm.toml", token_file=tmp_path / "token") as farm:
        with pytest.raises(envfarm.AuthError):
            envfarm.connect(farm.address, token="another")
        with farm.acquire("null", slots=1) as lease, lease.session() as session:
            session.reset(0, task="noop")
            assert session.recv()[0].failure is None


def test_a_farm_that_dies_is_said_so_at_once_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(NULL)
    with (
        envfarm.launch(config=tmp_path / "farm.toml") as farm,
        farm.acquire("null", slots=1) as lease,
        lease.session() as session,
    ):
        assert farm.pid is not None
        os.kill(farm.pid, signal.SIGKILL)
        session.reset(0, task="noop")
        began = time.monotonic()
        with pytest.raises(envfarm.FarmUnavailable, match="ended with status -9\n"):
            session.recv()
        assert time.monotonic() - began < 10


def test_the_farm_ends_when_the_process_that_launched_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(NULL)
    script = (
        f"import envfarm, time; farm = envfarm.launch(config={str(tmp_path / 'farm.toml')!r})\n"
        "print(farm.address, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            envfarm.connect(address, timeout=0.5).close()
        except envfarm.FarmUnavailable:
            return
    pytest.fail("the farm outlived its parent")
