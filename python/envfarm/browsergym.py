"""BrowserGym's single environment on a slot of a farm: same observation keys, same action strings, same seeds.

    env = envfarm.browsergym.make("miniwob.click-test-2")
    obs, info = env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step("click('13')")

BrowserGym itself need not be installed; `browsergym.utils.obs.flatten_axtree_to_str(obs["axtree_object"])` works where it
is. Environments that are given no farm share one, which is launched for the first and ends with the process. A forked process
launches its own; better start workers with spawn or forkserver, since gRPC does not survive a fork once it was used.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import re
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError

from envfarm.errors import CommandFailed, FarmUnavailable
from envfarm.farm import Farm
from envfarm.launch import launch
from envfarm.outcome import Outcome, Transition
from envfarm.spaces import Json, Unicode, scaled_pixels

# What BrowserGym does for a task of MiniWoB++: pictures at one and a half times the size of the page, in whose pixels boxes
# and coordinates are given too; no step limit, a time limit of 1000 s, and seeds below a million, drawn from the seed given
# to `reset`.
_SCALE = 1.5
_STEP_LIMIT = 2**31 - 1
_TIME_LIMIT = 1000.0
_SEEDS = 1_000_000

_TEXT = 4 << 20

# What opens every chat there.
_GREETING = "Hi! I am your UI assistant, I can perform web tasks for you. What can I help you with?"

# How many of a function's numbers, from the first, are coordinates or distances.
_COORDINATES = {
    **dict.fromkeys(("mouse_move", "mouse_up", "mouse_down", "mouse_click", "mouse_dblclick"), 2),
    **dict.fromkeys(("mouse_upload_file", "scroll"), 2),
    **dict.fromkeys(("mouse_drag_and_drop", "scroll_at"), 4),
}
# Calls are found as the farm finds them: anywhere in the text but in comments, with quotes that mean something only within
# their brackets. A call ends where it is closed or where it cannot be one; the search then goes on from there.
_HEAD = re.compile(r"#[^\n]*|(?P<name>[^\W\d]\w*)(?P<call>\s*\()?")
_ARGUMENT = re.compile(
    r"""
      (?P<number>[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<close>\))
    | [\s\\,\[\](]+ | \#[^\n]*
    | [rRuU]?(?:
          '''(?:\\.|[^\\])*?(?:'''|\Z) | \"\"\"(?:\\.|[^\\])*?(?:\"\"\"|\Z)
        | '(?:\\.|[^'\\\n])*'? | "(?:\\.|[^"\\\n])*"?
      )
    | (?:True|False|None)\b | [^\W\d]\w*\s*=
    """,
    re.VERBOSE | re.DOTALL,
)

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
    parts, done, at = [], 0, 0
    while (head := _HEAD.search(action, at)) is not None:
        at = head.end()
        if head["call"] is None:
            continue
        numbers, at = _numbers(action, at)
        for number in numbers[: _COORDINATES.get(head["name"], 0)]:
            parts += [action[done : number.start()], _unscaled(number[0])]
            done = number.end()
    return "".join([*parts, action[done:]])


def _numbers(action: str, at: int) -> tuple[list[re.Match[str]], int]:
    """The numbers among the arguments of the call whose bracket opens before `at`, and where the call ends."""
    numbers = []
    while (part := _ARGUMENT.match(action, at)) is not None:
        at = part.end()
        if part["number"] is not None:
            numbers.append(part)
        elif part["close"] is not None:
            break
    return numbers, at


def _unscaled(number: str) -> str:
    try:
        value = float(number) / _SCALE
    except ValueError:
        return number
    return f"{value:.10g}" if math.isfinite(value) else number


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
        height, width = (scaled_pixels(pixels, _SCALE) for pixels in (about.viewport_height, about.viewport_width))
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
        self._closed = False
        with contextlib.ExitStack() as held:
            lease = held.enter_context(farm.acquire(environment, slots=1))
            observations = ["browsergym", f"screenshot:png@{_SCALE}"]
            self._session = held.enter_context(lease.session(observations=observations, timeout=step_timeout))
            self._held = held.pop_all()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode. The same seed gives the same goal and page as BrowserGym's `reset(seed=...)`."""
        self._check_open()
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
        transition = _transition(self._receive())
        return self._observe(transition), {"task_info": self._task_info(transition)}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Takes one of BrowserGym's actions. An action that cannot be done is told in `obs["last_action_error"]`.

        `info` has BrowserGym's `task_info` (without REWARD_GLOBAL and REWARD_REASON), and when the action began and was done.
        """
        self._check_open()
        start = time.time()
        self._session.step(0, page_action(action))
        outcome = self._receive()
        transition = _transition(outcome)
        info = {
            "action_exec_start": start,
            "action_exec_stop": start + outcome.timing.queue + outcome.timing.act,
            "action_exec_timeout": 0.0,
            "task_info": self._task_info(transition),
        }
        obs = self._observe(transition)
        obs["last_action"] = action
        return obs, transition.reward, transition.terminated, transition.truncated, info

    def close(self) -> None:
        """Gives the slot back."""
        self._closed = True
        self._held.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError("this environment is closed")

    def _receive(self) -> Outcome:
        for outcome in self._session.recv(timeout=self._patience):
            if outcome.failure is not None:
                raise CommandFailed(outcome.failure, 0)
            if outcome.transition is not None:
                return outcome
        raise FarmUnavailable(f"the farm sent no outcome for {self._patience:g} s")

    def _observe(self, transition: Transition) -> dict[str, Any]:
        obs: dict[str, Any] = dict(transition.obs["browsergym"])
        for key in ("chat_messages", "goal_object", "open_pages_urls", "open_pages_titles"):
            obs[key] = tuple(obs[key])
        obs["chat_messages"] = ({"role": "assistant", "timestamp": 0.0, "message": _GREETING}, *obs["chat_messages"])
        obs["active_page_index"] = np.asarray(obs["active_page_index"], dtype=np.int64).reshape(1)
        obs["elapsed_time"] = np.asarray(obs["elapsed_time"], dtype=np.float64).reshape(1)
        for element in obs["extra_element_properties"].values():
            if element["bbox"] is not None:
                element["bbox"] = [value * _SCALE for value in element["bbox"]]
        obs["screenshot"] = transition.obs["screenshot"]
        return {key: obs[key] for key in self.observation_space.spaces}

    @staticmethod
    def _task_info(transition: Transition) -> dict[str, Any]:
        return {
            "RAW_REWARD_GLOBAL": transition.raw_reward,
            "DONE_GLOBAL": transition.terminated,
            "EPISODE_ID": int(transition.terminated),  # the page counts episodes that ended, and plays one
            "TASK_READY": True,
        }


def _transition(outcome: Outcome) -> Transition:
    assert outcome.transition is not None, "reset and step give a transition or a failure"
    return outcome.transition


def _shared_farm() -> Farm:
    """The farm of this process: a forked one has its own, as has one whose farm has ended."""
    global _shared
    with _shared_lock:
        if _shared is None or _shared.closed or not _shared.is_here() or _shared.ended() is not None:
            _shared = launch()
            atexit.register(_shared.close)
        return _shared
