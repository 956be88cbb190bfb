"""BrowserGym's single environment on a slot of a farm: same observation keys, same action strings, same seeds.

    env = envfarm.browsergym.make("miniwob.click-test-2")
    obs, info = env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step("click('13')")

BrowserGym itself need not be installed; `browsergym.utils.obs.flatten_axtree_to_str(obs["axtree_object"])` works where it
is. Environments that are given no farm share one, which is launched for the first and ends with the process.
"""

from __future__ import annotations

import atexit
import re
import threading
from typing import Any

import gymnasium as gym
import numpy as np

from envfarm.errors import CommandFailed, FarmUnavailable
from envfarm.farm import Farm
from envfarm.launch import launch
from envfarm.outcome import Transition
from envfarm.spaces import Json, Unicode

# What BrowserGym does for a task of MiniWoB++: pictures at one and a half times the size of the page, in whose pixels boxes
# and coordinates are given too; no step limit, a time limit of 1000 s, and seeds below a million, drawn from the seed given
# to `reset`.
_SCALE = 1.5
_STEP_LIMIT = 2**31 - 1
_TIME_LIMIT = 1000.0
_SEEDS = 1_000_000

_TEXT = 4 << 20

# A string, which is passed over, or a call whose first two or four arguments are coordinates or distances.
_COORDINATES = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|"""
    r"""(?P<call>\b(?:(?P<four>scroll_at|mouse_drag_and_drop)|scroll|mouse_\w+)\s*\()(?P<args>[^()'"]*)"""
)
_NUMBER = re.compile(r"-?\d+\.?\d*|-?\.\d+")

_shared: Farm | None = None
_shared_lock = threading.Lock()


def make(id: str, *, farm: Farm | None = None, step_timeout: float = 30.0, reset_timeout: float = 60.0) -> BrowserGymEnv:
    """An environment by BrowserGym's task id, "miniwob.TASK", with or without its prefix "browsergym/".

    What stands before the first dot is the name of the farm's environment. Timeouts are in seconds.
    """
    environment, dot, task = id.removeprefix("browsergym/").partition(".")
    if not dot:
        raise ValueError(f"{id!r} is not of the form environment.task, such as miniwob.click-test-2")
    return BrowserGymEnv(environment, task, farm or _shared_farm(), step_timeout, reset_timeout)


def task_seed(seed: int | None) -> int:
    """The page's seed that BrowserGym's MiniWoB++ draws from the seed given to `reset`."""
    return int(np.random.RandomState(seed).randint(0, _SEEDS))


def page_action(action: str) -> str:
    """The action with coordinates of the screenshot's pixels turned into those of the page."""

    def scaled(match: re.Match[str]) -> str:
        if match["call"] is None:
            return match[0]
        first = 4 if match["four"] else 2
        return match["call"] + _NUMBER.sub(lambda number: f"{float(number[0]) / _SCALE:.10g}", match["args"], count=first)

    return _COORDINATES.sub(scaled, action)


class BrowserGymEnv(gym.Env[dict[str, Any], str]):
    """One slot behind `gymnasium.Env`.

    A failure of the farm is never a reward nor the end of an episode: it raises CommandFailed, and `reset` starts anew in a
    fresh sandbox. `make_vec` is the face that brings episodes back by itself.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, environment: str, task: str, farm: Farm, step_timeout: float, reset_timeout: float) -> None:
        self.task = task
        self._reset_timeout = reset_timeout
        self._patience = 30.0 + max(step_timeout, reset_timeout)
        about = farm.environment(environment)
        height, width = round(about.viewport_height * _SCALE), round(about.viewport_width * _SCALE)
        text = Unicode(_TEXT)
        self.observation_space: gym.spaces.Dict = gym.spaces.Dict(
            {
                "chat_messages": gym.spaces.Sequence(Json()),
                "goal": text,
                "goal_object": gym.spaces.Sequence(Json()),
                "open_pages_urls": gym.spaces.Sequence(text),
                "open_pages_titles": gym.spaces.Sequence(text),
                "active_page_index": gym.spaces.Box(0, 255, (1,), np.int64),
                "url": text,
                "screenshot": gym.spaces.Box(0, 255, (height, width, 3), np.uint8),
                "dom_object": Json(),
                "axtree_object": Json(),
                "extra_element_properties": Json(),
                "focused_element_bid": text,
                "last_action": text,
                "last_action_error": text,
                "elapsed_time": gym.spaces.Box(0, np.inf, (1,), np.float64),
            }
        )
        self.action_space = Unicode(_TEXT)
        self._lease = farm.acquire(environment, slots=1)
        self._session = self._lease.session(observations=["browsergym", f"screenshot:png@{_SCALE}"], timeout=step_timeout)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode. The same seed gives the same goal and page as BrowserGym's `reset(seed=...)`."""
        super().reset(seed=seed)
        while self._session.in_flight:  # of a call that was interrupted
            self._receive()
        self._session.reset(
            0,
            task=self.task,
            seed=task_seed(seed),
            step_limit=_STEP_LIMIT,
            time_limit=_TIME_LIMIT,
            timeout=self._reset_timeout,
        )
        transition = self._receive()
        return self._observe(transition), {"task_info": self._task_info(transition)}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Takes one of BrowserGym's actions. An action that cannot be done is told in `obs["last_action_error"]`."""
        self._session.step(0, page_action(action))
        transition = self._receive()
        info = {"task_info": self._task_info(transition)}
        obs = self._observe(transition)
        obs["last_action"] = action
        return obs, transition.reward, transition.terminated, transition.truncated, info

    def close(self) -> None:
        """Gives the slot back."""
        self._session.close()
        self._lease.__exit__(None, None, None)

    def _receive(self) -> Transition:
        for outcome in self._session.recv(timeout=self._patience):
            if outcome.failure is not None:
                raise CommandFailed(outcome.failure, 0)
            if outcome.transition is not None:
                return outcome.transition
        raise FarmUnavailable(f"the farm sent no outcome for {self._patience:g} s")

    def _observe(self, transition: Transition) -> dict[str, Any]:
        obs: dict[str, Any] = dict(transition.obs["browsergym"])
        for key in ("chat_messages", "goal_object", "open_pages_urls", "open_pages_titles"):
            obs[key] = tuple(obs[key])
        obs["active_page_index"] = np.asarray(obs["active_page_index"], dtype=np.int64).reshape(1)
        obs["elapsed_time"] = np.asarray(obs["elapsed_time"], dtype=np.float64).reshape(1)
        for element in obs["extra_element_properties"].values():
            if element["bbox"] is not None:
                element["bbox"] = [value * _SCALE for value in element["bbox"]]
        obs["screenshot"] = transition.obs["screenshot"]
        return {key: obs[key] for key in self.observation_space.spaces}

    @staticmethod
    def _task_info(transition: Transition) -> dict[str, Any]:
        return {"RAW_REWARD_GLOBAL": transition.raw_reward, "DONE_GLOBAL": transition.terminated}


def _shared_farm() -> Farm:
    global _shared
    with _shared_lock:
        if _shared is None or _shared.closed:
            _shared = launch()
            atexit.register(_shared.close)
        return _shared
