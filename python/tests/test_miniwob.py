"""The vector environment over real pages."""

from __future__ import annotations

import os
import re
import signal
import time

import numpy as np
import pytest

import envfarm


def click(name: str, tree: str) -> str:
    """The click on the button of this name."""
    found = re.search(rf"\[(\w+)\] button '{name}'", tree)
    assert found, tree
    return f"click({found[1]!r})"


def test_pages_are_played_and_the_same_seed_shows_the_same_pages(farm: envfarm.Farm) -> None:
    env = envfarm.make_vec("miniwob", tasks=["click-test-2"], num_envs=4, farm=farm)
    first, infos = env.reset(seed=7)
    assert first in env.observation_space
    assert first["screenshot"].shape == (4, 214, 332, 3)
    assert first["goal"] == ("Click button ONE.",) * 4
    again, _ = env.reset(seed=7)
    assert again["axtree_txt"] == first["axtree_txt"]
    np.testing.assert_array_equal(again["screenshot"], first["screenshot"])

    right = [click("ONE", tree) for tree in again["axtree_txt"]]
    wrong = [click("TWO", tree) for tree in again["axtree_txt"]]
    obs, rewards, terminated, truncated, infos = env.step([right[0], wrong[1], right[2], "click('nothing')"])
    assert rewards.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert terminated.tolist() == [True, True, True, False] and not truncated.any()
    assert infos["raw_reward"][0] > 0 > infos["raw_reward"][1]
    assert infos["_action_error"].tolist() == [False, False, False, True]
    assert "failure" not in infos
    obs, rewards, terminated, truncated, infos = env.step(["noop()"] * 4)
    assert rewards.tolist() == [0.0] * 4 and not terminated.any()
    assert infos["seed"][0] != infos["seed"][3]
    env.close()


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
def test_a_scaled_picture_fits_the_space(farm: envfarm.Farm, scale: float) -> None:
    env = envfarm.make_vec(
        "miniwob", tasks=["click-test"], num_envs=1, farm=farm, observations=[f"screenshot:jpeg@{scale}"], prepare=False
    )
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    env.close()


def browsers(farm: envfarm.Farm) -> set[int]:
    return {host.pid for pool in farm.status().pools for host in pool.hosts if pool.environment == "miniwob" and host.pid}


def test_a_killed_browser_costs_time_and_nothing_else() -> None:
    with envfarm.launch() as farm:
        env = envfarm.make_vec(
            "miniwob", tasks=["click-checkboxes"], num_envs=3, farm=farm, observations=["axtree_txt", "goal"]
        )
        before, infos = env.reset(seed=1)
        seeds = infos["seed"].tolist()
        ticked = [re.search(r"\[(\w+)\] checkbox '(\w+)', checked='false'", tree) for tree in before["axtree_txt"]]
        assert all(ticked)
        obs, *_ = env.step([f"click({box[1]!r})" for box in ticked if box])
        killed = browsers(farm)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while killed & browsers(farm) and time.monotonic() < deadline:
            time.sleep(0.02)
        again, rewards, terminated, truncated, infos = env.step(["noop(0)"] * 3)
        # Each box is ticked as before, in another browser.
        assert again["axtree_txt"] == obs["axtree_txt"] and again["goal"] == before["goal"]
        assert infos["seed"].tolist() == seeds and not infos["restarted"].any()
        assert [failure.split(":")[0] for failure in infos["failure"]] == ["host_lost"] * 3
        assert rewards.tolist() == [0.0] * 3 and not terminated.any() and not truncated.any()
        env.close()
