"""The vector environment against a fake farm: Gymnasium's contract, and what a failure of the farm does to an episode."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import fake
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.utils.passive_env_checker import check_obs, check_space
from gymnasium.utils.performance import benchmark_vector_step
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

import envfarm

Make = Callable[..., tuple[fake.FakeFarm, envfarm.Farm]]
MODES = list(AutoresetMode)


def make(client: envfarm.Farm, num_envs: int = 2, **options: Any) -> envfarm.FarmVectorEnv:
    options = {"observations": ["screenshot", "axtree_txt"], "tasks": ["task-0", "task-1"], **options}
    return envfarm.make_vec("counter", num_envs=num_envs, farm=client, **options)


def texts(obs: dict[str, Any]) -> list[int]:
    return [int(text.split(": ")[1]) for text in obs["axtree_txt"]]


# ---- Gymnasium's contract -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_spaces_and_types_are_what_gymnasium_checks(fake_farm: Make, mode: AutoresetMode) -> None:
    _, client = fake_farm()
    env = make(client, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] is mode
    assert env.observation_space == batch_space(env.single_observation_space, 2)
    assert env.action_space == batch_space(env.single_action_space, 2)
    check_space(env.single_observation_space, "observation", lambda *_: None)
    obs, infos = env.reset(seed=1)
    check_obs(obs, env.observation_space, "reset")
    assert isinstance(infos, dict)
    for _ in range(2):
        obs, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        check_obs(obs, env.observation_space, "step")
        assert rewards.shape == (2,) and rewards.dtype == np.float64
        assert terminated.dtype == truncated.dtype == np.bool_
        assert isinstance(infos, dict)
    assert all(single in env.single_observation_space for single in gym.vector.utils.iterate(env.observation_space, obs))
    env.close()
    env.close()
    assert env.closed


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_own_benchmark_and_wrappers_run(fake_farm: Make, mode: AutoresetMode) -> None:
    _, client = fake_farm()
    env = make(client, autoreset_mode=mode)
    assert benchmark_vector_step(env, target_duration=1, seed=3) > 0
    env.close()
    env = make(client, autoreset_mode=mode, observations=["axtree_txt"])
    wrapped = DictInfoToList(RecordEpisodeStatistics(env))
    wrapped.reset(seed=1)
    returned = []
    for _ in range(9):
        _, _, terminated, truncated, infos = wrapped.step(["inc", "inc"])
        returned += [info["episode"]["r"] for info in infos if "episode" in info]
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            wrapped.reset(options={"reset_mask": terminated | truncated})
    assert len(returned) >= 4 and set(returned) == {1.0}
    wrapped.close()


def test_next_step_returns_the_last_observation_first_and_resets_at_the_next_step(fake_farm: Make) -> None:
    _, client = fake_farm(goal=2)
    env = make(client, autoreset_mode=AutoresetMode.NEXT_STEP)
    env.reset(seed=1)
    env.step(["inc", "wait"])
    obs, rewards, terminated, _, _ = env.step(["inc", "wait"])
    assert texts(obs) == [2, 0] and terminated.tolist() == [True, False] and rewards.tolist() == [1.0, 0.0]
    obs, rewards, terminated, truncated, infos = env.step(["inc", "inc"])
    assert texts(obs) == [0, 1], "slot 0 was reset and its action ignored"
    assert rewards.tolist() == [0.0, 0.0] and not terminated.any() and not truncated.any()
    assert "final_obs" not in infos


def test_same_step_returns_the_next_episode_and_keeps_the_last_observation_in_infos(fake_farm: Make) -> None:
    _, client = fake_farm(goal=2)
    env = make(client, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=1)
    env.step(["inc", "wait"])
    obs, rewards, terminated, _, infos = env.step(["inc", "wait"])
    assert texts(obs) == [0, 0] and terminated.tolist() == [True, False] and rewards.tolist() == [1.0, 0.0]
    assert infos["_final_obs"].tolist() == [True, False]
    assert infos["final_obs"][0]["axtree_txt"].endswith(": 2")
    assert infos["final_info"]["seed"][0] != infos["seed"][0]
    obs, _, _, _, _ = env.step(["inc", "inc"])
    assert texts(obs) == [1, 1]


def test_disabled_resets_only_what_the_mask_names(fake_farm: Make) -> None:
    _, client = fake_farm(goal=2)
    env = make(client, autoreset_mode="Disabled")
    env.reset(seed=1)
    env.step(["inc", "inc"])
    _, _, terminated, _, _ = env.step(["inc", "wait"])
    with pytest.raises(ValueError, match=r"slots \[0\]"):
        env.step(["inc", "inc"])
    obs, infos = env.reset(options={"reset_mask": terminated})
    assert texts(obs) == [0, 1]
    assert infos["_seed"].tolist() == [True, False]
    for mask in ([True, False], np.array([False, False]), np.array([True])):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})


def test_truncation_is_told_apart_from_termination(fake_farm: Make) -> None:
    _, client = fake_farm()
    env = make(client)
    env.reset(seed=1)
    for _ in range(fake.STEP_LIMIT):
        _, _, terminated, truncated, infos = env.step(["wait", "wait"])
    assert truncated.all() and not terminated.any()
    assert infos["truncation_cause"].tolist() == ["step_limit"] * 2
    assert infos["action_error"].tolist() == ["not inc"] * 2


def test_a_seed_decides_every_later_episode(fake_farm: Make) -> None:
    _, client = fake_farm(goal=1)

    def episodes(env: envfarm.FarmVectorEnv, seed: int) -> list[Any]:
        _, infos = env.reset(seed=seed)
        seen = [(infos["task"].tolist(), infos["seed"].tolist())]
        for _ in range(6):
            _, _, _, _, infos = env.step(["inc", "inc"])
            seen.append((infos["task"].tolist(), infos["seed"].tolist()))
        return seen

    with_prepare, without = make(client), make(client, prepare=False)
    first = episodes(with_prepare, 5)
    assert first == episodes(with_prepare, 5) == episodes(without, 5)
    assert first != episodes(with_prepare, 6)
    assert len({seed for _, seeds in first for seed in seeds}) == 8


def test_the_next_episode_is_prepared_and_then_taken(fake_farm: Make) -> None:
    farm, client = fake_farm(goal=1)
    env = make(client, 1)
    env.reset(seed=1)
    for _ in range(4):
        env.step(["inc"])
    prepared = [command.prepare.task for command in farm.commands if command.HasField("prepare")]
    resets = [command.reset.task for command in farm.commands if command.HasField("reset")]
    assert len(resets) == 3 and prepared[:2] == resets[1:]


def test_a_curriculum_chooses_tasks_and_seeds(fake_farm: Make) -> None:
    _, client = fake_farm(goal=1)
    numbers = itertools.count()
    env = make(client, 1, curriculum=lambda rng: ("task-9", next(numbers)))
    _, infos = env.reset()
    assert (infos["task"][0], infos["seed"][0]) == ("task-9", 0)


def test_an_observation_that_could_not_be_taken_is_empty_and_reported(fake_farm: Make) -> None:
    _, client = fake_farm()
    env = make(client, observations=["html", "axtree_txt"])
    obs, infos = env.reset(seed=1)
    assert obs["html"] == ("", "") and infos["observation_error"][0] == "html: no html"


# ---- Failures of the farm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_step_is_taken_again_in_a_new_sandbox_as_if_nothing_had_been(fake_farm: Make, mode: AutoresetMode) -> None:
    farm, client = fake_farm()
    env = make(client, autoreset_mode=mode)
    _, started = env.reset(seed=1)
    farm.fault = fake.Faults(0, 1)  # the second step of slot 0
    env.step(["inc", "inc"])
    obs, rewards, terminated, truncated, infos = env.step(["inc", "inc"])
    assert texts(obs) == [2, 2]
    assert rewards.tolist() == [0.0, 0.0] and not terminated.any() and not truncated.any()
    assert infos["failure"][0] == "host_lost: killed" and infos["_failure"].tolist() == [True, False]
    assert not infos["restarted"].any()
    assert infos["seed"].tolist() == started["seed"].tolist()
    resets = [command.slot for command in farm.commands if command.HasField("reset")]
    assert resets.count(0) == 2 and resets.count(1) == 1, "the other slot never noticed"
    _, rewards, terminated, _, infos = env.step(["inc", "inc"])
    assert rewards.tolist() == [1.0, 1.0] and terminated.all()
    info = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert "failure" not in info


def test_a_failure_while_the_episode_is_brought_back_is_survived_too(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 1)
    env.reset(seed=1)
    farm.fault = fake.Faults(0, 1, 3)  # the second step, then the replay of the first
    env.step(["inc"])
    obs, _, _, _, infos = env.step(["inc"])
    assert texts(obs) == [2] and infos["failure"][0] and not infos["restarted"][0]


def test_an_episode_that_cannot_be_brought_back_restarts_and_says_so(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 1)
    env.reset(seed=1)
    env.step(["inc"])
    farm.fault = fake.Faults(0, 0)
    farm.noise = " and a clock"  # the page is never again as the agent saw it
    obs, rewards, terminated, truncated, infos = env.step(["inc"])
    assert obs["axtree_txt"][0].endswith(": 0 and a clock")
    assert infos["restarted"][0] and infos["failure"][0] == "host_lost: killed"
    assert rewards[0] == 0.0 and not terminated[0] and not truncated[0]
    _, _, _, _, infos = env.step(["inc"])
    assert "restarted" not in infos


def test_a_failed_reset_is_tried_again(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 1)
    farm.fault = fake.Faults(0, 0, 1)
    obs, infos = env.reset(seed=1)
    assert texts(obs) == [0] and infos["failure"][0] == "host_lost: killed" and not infos["restarted"][0]


def test_a_farm_that_keeps_failing_raises_and_a_later_reset_starts_over(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client)
    env.reset(seed=1)
    farm.fault = fake.Faults(0, *range(100))
    with pytest.raises(envfarm.CommandFailed, match="slot 0: host_lost") as raised:
        env.step(["inc", "inc"])
    assert raised.value.failure.code == "host_lost"
    farm.fault = lambda command: None
    obs, _ = env.reset(seed=1)
    assert texts(obs) == [0, 0]


def test_on_failure_raise_raises_at_once(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 1, on_failure="raise")
    env.reset(seed=1)
    farm.fault = fake.Faults(0, 0)
    with pytest.raises(envfarm.CommandFailed):
        env.step(["inc"])
    assert len([command for command in farm.commands if command.HasField("reset")]) == 1


def test_a_refused_command_is_not_tried_again(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 1)
    farm.fault = lambda command: envfarm.pb.Failure(code=envfarm.pb.FAILURE_CODE_UNKNOWN_TASK, reason="task-0", field="task_id")
    with pytest.raises(envfarm.CommandFailed, match="unknown_task"):
        env.reset(seed=1)
    assert len(farm.commands) == 1


def test_a_lost_stream_is_not_even_noticed(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client, 4)
    env.reset(seed=1)
    farm.drop_after = 2
    obs, _, _, _, infos = env.step(["inc"] * 4)
    assert texts(obs) == [1, 1, 1, 1] and "failure" not in infos and farm.attachments == 2


def too_late(command: envfarm.pb.Command) -> envfarm.pb.Failure | None:
    """Fails every `wait` in slot 0 as the farm does when an action takes longer than its step may."""
    if command.slot != 0 or command.step.text.text != "wait":
        return None
    return envfarm.pb.Failure(
        code=envfarm.pb.FAILURE_CODE_DEADLINE_EXCEEDED,
        reason="the deadline passed",
        slot_state=envfarm.pb.SLOT_STATE_LOST,
        retryable=True,
        action_may_have_applied=True,
    )


def test_an_action_that_takes_too_long_is_not_taken_again(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client)
    _, started = env.reset(seed=1)
    env.step(["inc", "inc"])
    farm.fault = too_late
    obs, rewards, terminated, truncated, infos = env.step(["wait", "inc"])
    assert texts(obs) == [0, 2] and rewards.tolist() == [0.0, 0.0] and not (terminated | truncated).any()
    assert infos["failure"][0].startswith("deadline_exceeded") and infos["restarted"].tolist() == [True, False]
    assert infos["seed"].tolist() == started["seed"].tolist()
    assert [command.step.text.text for command in farm.commands].count("wait") == 1
    obs, *_ = env.step(["inc", "inc"])
    assert texts(obs) == [1, 3]


# ---- What agents and trainers get wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\ud800", "inc" * (1 << 20)])
def test_a_text_that_cannot_be_sent_costs_its_slot_an_action_error(fake_farm: Make, text: str) -> None:
    _, client = fake_farm()
    env = make(client)
    env.reset(seed=1)
    obs, _, _, _, infos = env.step([text, "inc"])
    assert texts(obs) == [0, 1] and infos["action_error"][0] == "not inc" and infos["_action_error"].tolist() == [True, False]
    obs, _, _, _, infos = env.step(["inc", "inc"])
    assert texts(obs) == [1, 2] and "action_error" not in infos


def test_an_action_that_was_not_queued_is_no_part_of_the_episode(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm, client = fake_farm()
    env = make(client, 1)
    env.reset(seed=1)
    with monkeypatch.context() as patched:
        patched.setattr(env._session, "step", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            env.step(["nonsense"])
    farm.fault = fake.Faults(0, 0)
    obs, _, _, _, infos = env.step(["inc"])
    assert texts(obs) == [1] and not infos["restarted"][0]
    assert [command.step.text.text for command in farm.commands if command.HasField("step")] == ["inc", "inc"]


def test_a_scaled_picture_has_halves_rounded_up(fake_farm: Make) -> None:
    _, client = fake_farm()
    env = make(client, 1, observations=["screenshot@0.25"])
    assert env.single_observation_space["screenshot"].shape == (3, 5, 3)  # of 10 x 20, as the farm takes it


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"tasks": "task-0"}, r"such as \['task-0'\], not one string"),
        ({"tasks": []}, "at least one task id"),
        ({"tasks": ["task-0", "task-7"]}, "has no tasks 'task-7'"),
        ({"dialect": "french"}, "dialect 'french' is not one of browsergym"),
        ({"reset_mode": "warm"}, "reset_mode 'warm' is not one of fresh, in_place"),
        ({"step_limit": 0}, "step_limit must be"),
        ({"time_limit": -1.0}, "time_limit must be"),
        ({"step_timeout": 0}, "step_timeout must be"),
        ({"observations": "screenshot"}, "observations must be a list"),
    ],
)
def test_what_cannot_be_is_said_when_the_environment_is_made(fake_farm: Make, options: dict[str, Any], said: str) -> None:
    farm, client = fake_farm()
    with pytest.raises(ValueError, match=said):
        make(client, **options)
    assert farm.leases == {} and farm.commands == []


def test_an_environment_that_cannot_be_made_keeps_no_slots(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_session(lease: envfarm.Lease, **_: Any) -> envfarm.Session:
        leases.append(lease)
        raise envfarm.RequestError("no session")

    farm, client = fake_farm()
    leases: list[envfarm.Lease] = []
    monkeypatch.setattr(envfarm.Lease, "session", no_session)
    with pytest.raises(envfarm.RequestError, match="no session"):
        make(client)
    assert farm.leases == {}
    leases[0]._renewer.join(10)
    assert not leases[0]._renewer.is_alive()


def test_a_reset_plays_the_tasks_that_it_is_given(fake_farm: Make) -> None:
    farm, client = fake_farm(goal=1)
    env = make(client, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=1)
    _, infos = env.reset(options={"tasks": [("task-3", 7), ["task-4", np.int64(8)]]})
    assert infos["task"].tolist() == ["task-3", "task-4"] and infos["seed"].tolist() == [7, 8]
    resets = [command.reset.task for command in farm.commands if command.HasField("reset")]
    assert [(task.task_id, task.seed) for task in resets[-2:]] == [("task-3", 7), ("task-4", 8)]
    _, infos = env.reset(options={"tasks": [("task-0", 1)] * 2, "reset_mask": np.array([False, True])})
    assert (infos["task"][1], infos["seed"][1]) == ("task-0", 1) and infos["_seed"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "task-0", "seeds": 3}, "unknown options 'seeds', 'task'"),
        ({"tasks": [("task-0", 1)]}, "1 pairs for 2 environments"),
        ({"tasks": ["task-0", "task-1"]}, "wants pairs"),
        ({"tasks": [("task-0", -1)] * 2}, "wants pairs"),
        ({"tasks": [("task-7", 1)] * 2}, "no task 'task-7'"),
    ],
)
def test_options_that_a_reset_cannot_follow_are_refused(fake_farm: Make, options: dict[str, Any], said: str) -> None:
    farm, client = fake_farm()
    env = make(client)
    with pytest.raises(ValueError, match=said):
        env.reset(options=options)
    assert farm.commands == []


def test_a_closed_environment_says_so_at_once(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client)
    env.reset(seed=1)
    env.close()
    assert farm.leases == {}
    with pytest.raises(ClosedEnvironmentError):
        env.reset(seed=1)
    with pytest.raises(ClosedEnvironmentError):
        env.step(["inc", "inc"])


def test_a_lost_lease_is_told_at_every_call(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = make(client)
    env.reset(seed=1)
    farm.leases.clear()
    farm.drop_after = 0
    for call in (lambda: env.step(["inc", "inc"]), env.reset, env.reset):
        with pytest.raises(envfarm.LeaseLost):
            call()
