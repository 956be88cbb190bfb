from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import fake
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.wrappers import PassiveEnvChecker

import envfarm
from envfarm.browsergym import page_action, task_seed

Make = Callable[..., tuple[fake.FakeFarm, envfarm.Farm]]

KEYS = {
    "chat_messages", "goal", "goal_object", "open_pages_urls", "open_pages_titles", "active_page_index", "url", "screenshot",
    "dom_object", "axtree_object", "extra_element_properties", "focused_element_bid", "last_action", "last_action_error",
    "elapsed_time",
}  # fmt: skip


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        ("mouse_click(150, 30)", "mouse_click(100, 20)"),
        ("mouse_click(x=150, y=30.0, button='left')", "mouse_click(x=100, y=20, button='left')"),
        ("mouse_drag_and_drop(3, 6, 9, 12)", "mouse_drag_and_drop(2, 4, 6, 8)"),
        ("scroll(0, -300)", "scroll(0, -200)"),
        ("scroll_at(15, 15, 0, 3)", "scroll_at(10, 10, 0, 2)"),
        ("I will mouse_move(1.5, .75) now", "I will mouse_move(1, 0.5) now"),
        ("mouse_upload_file(15, 15, 'a3.txt')", "mouse_upload_file(10, 10, 'a3.txt')"),
        ("fill('12', 'mouse_click(150, 30)')", "fill('12', 'mouse_click(150, 30)')"),
        ("click('13')\nmouse_click(3, 3)", "click('13')\nmouse_click(2, 2)"),
        ("noop(1000)", "noop(1000)"),
        (
            "I'll click it.\nmouse_click(126, 95.25)\nkeyboard_type('hello')",
            "I'll click it.\nmouse_click(84, 63.5)\nkeyboard_type('hello')",
        ),
        ("I'll click (it's near).\nmouse_click(3, 3)", "I'll click (it's near).\nmouse_click(2, 2)"),
        ("mouse_click(1.5e2, +75)", "mouse_click(100, 50)"),
        ("mouse_click(  # the 3rd one isn't it\n  150, 30)", "mouse_click(  # the 3rd one isn't it\n  100, 20)"),
        ("# mouse_click(3, 3) isn't it\nmouse_click(3, 3)", "# mouse_click(3, 3) isn't it\nmouse_click(2, 2)"),
        ("fill('1', '''it's\nscroll(3, 3)''')\nscroll(3, 3)", "fill('1', '''it's\nscroll(3, 3)''')\nscroll(2, 2)"),
        ("fill('1', 'don\\'t scroll(3, 3)')", "fill('1', 'don\\'t scroll(3, 3)')"),
        ("mouse_click(1__5, 1e999)", "mouse_click(1__5, 1e999)"),
        ("keyboard_type('mouse')", "keyboard_type('mouse')"),
    ],
)
def test_coordinates_of_the_screenshot_become_those_of_the_page(action: str, sent: str) -> None:
    assert page_action(action) == sent


def test_the_page_gets_the_seed_that_browsergym_draws() -> None:
    assert task_seed(0) == np.random.RandomState(0).randint(0, 1000000) == 985772


def test_an_episode_goes_as_with_browsergym(farm: envfarm.Farm) -> None:
    # The wrapper is Gymnasium's own check of spaces, types and order of calls.
    env = PassiveEnvChecker(envfarm.browsergym.make("browsergym/miniwob.click-test-2", farm=farm))
    obs, info = env.reset(seed=0)
    assert set(obs) == KEYS
    assert obs["goal"] == "Click button ONE." and obs["goal_object"] == ({"type": "text", "text": obs["goal"]},)
    assert obs["screenshot"].shape == (321, 498, 3) and obs["screenshot"].std() > 0
    assert obs["open_pages_urls"] == (obs["url"],) and obs["active_page_index"].tolist() == [0]
    assert obs["last_action"] == obs["last_action_error"] == ""
    assert info["task_info"] == {"RAW_REWARD_GLOBAL": 0.0, "DONE_GLOBAL": False, "EPISODE_ID": 0, "TASK_READY": True}
    said = [(message["role"], message["message"]) for message in obs["chat_messages"]]
    assert said == [
        ("assistant", "Hi! I am your UI assistant, I can perform web tasks for you. What can I help you with?"),
        ("user", obs["goal"]),
    ]
    (bid,) = [
        node["browsergym_id"]
        for node in obs["axtree_object"]["nodes"]
        if node["role"]["value"] == "button" and node["name"]["value"] == "ONE"
    ]

    before = time.time()
    obs, reward, terminated, truncated, info = env.step("click('no-such-bid')")
    assert before <= info["action_exec_start"] <= info["action_exec_stop"] <= time.time()
    assert info["action_exec_timeout"] == 0.0
    assert obs["last_action_error"] and obs["last_action"] == "click('no-such-bid')"
    assert (reward, terminated, truncated) == (0.0, False, False)

    # The box is given, and the click taken, in pixels of the screenshot.
    left, top, width, height = obs["extra_element_properties"][bid]["bbox"]
    assert left + width < 498 and top + height < 321
    action = f"mouse_click({left + width / 2}, {top + height / 2})"
    obs, reward, terminated, truncated, info = env.step(action)
    assert obs["last_action"] == action and obs["last_action_error"] == ""
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["task_info"]["RAW_REWARD_GLOBAL"] > 0
    assert info["task_info"]["DONE_GLOBAL"] and info["task_info"]["EPISODE_ID"] == 1
    env.close()


def test_a_failure_of_the_farm_raises_and_a_reset_starts_anew(farm: envfarm.Farm) -> None:
    with pytest.raises(ValueError, match="environment.task"):
        envfarm.browsergym.make("click-test", farm=farm)
    env = envfarm.browsergym.make("miniwob.no-such-task", farm=farm)
    with pytest.raises(envfarm.CommandFailed, match="unknown_task"):
        env.reset(seed=0)
    env.close()
    env = envfarm.browsergym.make("miniwob.click-test", farm=farm)
    env.reset(seed=0)
    with pytest.raises(envfarm.CommandFailed, match="slot 0"):
        env._session.observe(0, timeout=0.001)
        env._receive()
    env.reset(seed=1)
    env.close()


def test_a_closed_environment_says_so_at_once(fake_farm: Make) -> None:
    farm, client = fake_farm()
    env = envfarm.browsergym.make("counter.task-0", farm=client)
    env.close()
    env.close()
    assert farm.leases == {}
    with pytest.raises(ClosedEnvironmentError):
        env.reset(seed=0)
    with pytest.raises(ClosedEnvironmentError):
        env.step("noop()")


def test_an_environment_that_cannot_be_made_keeps_no_slot(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm, client = fake_farm()
    monkeypatch.setattr(envfarm.Lease, "session", no_session)
    with pytest.raises(envfarm.RequestError, match="no session"):
        envfarm.browsergym.make("counter.task-0", farm=client)
    assert farm.leases == {}


def no_session(lease: envfarm.Lease, **_: Any) -> envfarm.Session:
    raise envfarm.RequestError("no session")


def test_a_forked_process_shares_no_farm_with_its_parent(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    _, parents = fake_farm()
    monkeypatch.setattr(envfarm.browsergym, "_shared", parents)
    monkeypatch.setattr(envfarm.browsergym, "launch", lambda: envfarm.Farm("127.0.0.1:1"))
    assert envfarm.browsergym._shared_farm() is parents
    monkeypatch.setattr(parents, "_process", os.getppid())  # as it looks to a child
    assert envfarm.browsergym._shared_farm() is not parents


def test_a_shared_farm_that_ended_is_replaced(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ended = fake_farm()
    monkeypatch.setattr(envfarm.browsergym, "_shared", ended)
    monkeypatch.setattr(envfarm.browsergym, "launch", lambda: envfarm.Farm("127.0.0.1:1"))
    monkeypatch.setattr(ended, "ended", lambda: "killed")
    assert envfarm.browsergym._shared_farm() is not ended
