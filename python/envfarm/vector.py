"""A Gymnasium vector environment over the slots of a lease: the barrier-style face of a farm for trainers that want one.

What a farm failure does to an episode is decided here, since Gymnasium has no word for it. The slot is reset to the same
task and seed in a fresh sandbox and the actions of the episode are played again; if the agent would then see what it saw,
the action that failed is taken and its true transition is returned, as if nothing had happened but time. Only if the
episode cannot be brought back does the slot restart it: the step returns the episode's first observation, and
`infos["restarted"]` marks that it is no transition and is to be left out of learning, as Gymnasium's own next-step resets
are. An action that used up the whole time of its step is never taken again: there too the episode restarts. Either way
`infos["failure"]` says what broke. A failure is never a reward and never ends an episode.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import NDArray

from envfarm._book import DIALECTS, MODES, choice, milliseconds
from envfarm.errors import CommandFailed, FarmUnavailable
from envfarm.farm import Farm
from envfarm.launch import launch
from envfarm.observations import JSON_KINDS, KIND_NAMES, PICTURES, Observations, parse_specs
from envfarm.outcome import Failure, Outcome, Transition
from envfarm.spaces import Json, Unicode, scaled_pixels

#: Draws the task id and seed of one slot's next episode from that slot's generator.
Curriculum = Callable[[np.random.Generator], tuple[str, int]]

_MAX_ACTION_CHARACTERS = 16_384
_MAX_TEXT_CHARACTERS = 4 << 20
_ATTEMPTS = 3


class _Slot:
    """What is known of one slot: its episode, and how far the sandbox that it is in now has been brought."""

    __slots__ = ("actions", "done", "failure", "following", "last", "played", "request", "restarted", "rng", "task", "tries")

    def __init__(self) -> None:
        self.rng = np.random.default_rng()
        self.task = ("", 0)
        self.following: tuple[str, int] | None = None
        self.actions: list[str] = []
        self.played = 0
        self.last: Transition | None = None
        self.done = True
        self.request = 0
        self.tries = 0
        self.failure: str | None = None
        self.restarted = False


class FarmVectorEnv(VectorEnv[dict[str, Any], Sequence[str], NDArray[Any]]):
    """`num_envs` slots of one environment in step. Made by `make_vec`, which says what the arguments mean."""

    def __init__(
        self,
        environment: str,
        *,
        num_envs: int,
        tasks: Sequence[str] | None,
        farm: Farm | None,
        observations: Iterable[str],
        autoreset_mode: AutoresetMode | str,
        curriculum: Curriculum | None,
        dialect: str | None,
        on_failure: str,
        prepare: bool,
        step_limit: int | None,
        time_limit: float | None,
        reset_mode: str | None,
        step_timeout: float,
        reset_timeout: float,
    ) -> None:
        if on_failure not in ("retry", "raise"):
            raise ValueError(f"on_failure must be 'retry' or 'raise', not {on_failure!r}")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        _check_episodes(dialect, reset_mode, step_limit, time_limit, step_timeout, reset_timeout)
        observations = observations if isinstance(observations, str) else list(observations)
        specs = parse_specs(observations).specs
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        with contextlib.ExitStack() as held:
            farm = farm or held.enter_context(launch())
            about = farm.environment(environment)
            self._known = [task.id for task in farm.tasks(environment)]
            self._tasks = self._known if tasks is None else _chosen(tasks, self._known, environment)
            lease = held.enter_context(farm.acquire(environment, slots=num_envs))
            self._session = held.enter_context(lease.session(observations=observations, timeout=step_timeout))
            self._held = held.pop_all()

        def space(kind: str, scale: float) -> gym.Space[Any]:
            if kind in PICTURES:
                size = (about.viewport_height, about.viewport_width)
                height, width = (scaled_pixels(pixels, scale or 1.0) for pixels in size)
                return gym.spaces.Box(0, 255, (height, width, 3), np.uint8)
            return Json() if kind in JSON_KINDS else Unicode(_MAX_TEXT_CHARACTERS)

        spaces = {KIND_NAMES[spec.kind]: space(KIND_NAMES[spec.kind], spec.scale) for spec in specs}
        self.single_observation_space = gym.spaces.Dict(spaces)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = Unicode(_MAX_ACTION_CHARACTERS)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._spaces = spaces
        self._curriculum = curriculum or self._uniform
        self._dialect = dialect
        self._retry = on_failure == "retry"
        self._prepare = prepare
        self._reset_options: dict[str, Any] = {
            "step_limit": step_limit,
            "time_limit": time_limit,
            "mode": reset_mode,
            "timeout": reset_timeout,
        }
        # The farm keeps each command's deadline; this is for a farm that keeps none any more.
        self._patience = 30.0 + max(step_timeout, reset_timeout)
        self._slots = [_Slot() for _ in range(num_envs)]
        self._obs: list[dict[str, Any]] = [{} for _ in range(num_envs)]

    # ---- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts new episodes, in all slots or where `options["reset_mask"]` is true.

        The same seed gives the same sequence of tasks and task seeds in every slot; slot i takes `seed + i`.
        `options["tasks"]`, a pair of task id and seed for each environment, says which episodes start instead; those after
        them are drawn again.
        """
        self._check_open()
        options = options or {}
        unknown = options.keys() - {"reset_mask", "tasks"}
        if unknown:
            raise ValueError(f"unknown options {', '.join(sorted(map(repr, unknown)))}; there are 'reset_mask' and 'tasks'")
        mask = options.get("reset_mask")
        given = self._pairs(options["tasks"]) if options.get("tasks") is not None else None
        chosen = range(self.num_envs) if mask is None else [int(i) for i in np.flatnonzero(self._checked(mask))]
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"seed must be one number or {self.num_envs}, not {len(seeds)}")
        while self._session.in_flight:  # of a call that was interrupted or raised
            self._receive()
        for i in chosen:
            if seeds is not None and seeds[i] is not None:
                self._slots[i].rng = np.random.default_rng(seeds[i])
                self._slots[i].following = None
            self._begin(i, given[i] if given is not None else None)
        infos: dict[str, Any] = {}
        for i, transition in self._run(chosen)[0].items():
            infos = self._add_info(infos, self._take(i, transition), i)
        return self._batched(), infos

    def step(
        self, actions: Sequence[str]
    ) -> tuple[dict[str, Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Takes one action in every slot and waits for all of them.

        `infos` has `task`, `seed` and `raw_reward`, and where there is something to say `action_error`, `truncation_cause`,
        `observation_error`, `failure` and `restarted` (see the module's text). Raises CommandFailed if the farm refuses a
        command, keeps failing, or fails at all with `on_failure="raise"`; `reset` then starts over.
        """
        self._check_open()
        actions = list(actions)
        if len(actions) != self.num_envs:
            raise ValueError(f"{len(actions)} actions for {self.num_envs} environments")
        over = [slot.done for slot in self._slots]
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP and any(over):
            raise ValueError(f"slots {[i for i, done in enumerate(over) if done]} have no episode that takes steps: reset them")
        for i, action in enumerate(actions):
            if over[i]:
                self._begin(i)
            else:
                self._act(i, str(action))
        results, finals = self._run(range(self.num_envs), reset_done=self.autoreset_mode is AutoresetMode.SAME_STEP)

        rewards = np.zeros(self.num_envs, np.float64)
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        infos: dict[str, Any] = {}
        for i in range(self.num_envs):
            end = finals.get(i)
            if end is not None:
                final_obs, final_info, stepped = end
                infos = self._add_info(infos, {"final_obs": final_obs, "final_info": final_info}, i)
            else:
                stepped = results[i]
            rewards[i], terminated[i], truncated[i] = stepped.reward, stepped.terminated, stepped.truncated
            infos = self._add_info(infos, self._take(i, results[i]), i)
        return self._batched(), rewards, terminated, truncated, infos

    def close_extras(self, **_: Any) -> None:
        self._held.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("this environment is closed")

    # ---- Episodes -------------------------------------------------------------------------------------------------

    def _uniform(self, rng: np.random.Generator) -> tuple[str, int]:
        return self._tasks[int(rng.integers(len(self._tasks)))], int(rng.integers(2**31))

    def _begin(self, i: int, task: tuple[str, int] | None = None) -> None:
        """Queues the start of the slot's next episode, which is drawn if it is not given."""
        slot = self._slots[i]
        if task is None:
            task, slot.following = slot.following or self._curriculum(slot.rng), None
        slot.task = task
        slot.actions = []
        slot.tries, slot.failure, slot.restarted = 0, None, False
        self._restart(i)

    def _act(self, i: int, action: str) -> None:
        """Queues one more action of the slot's episode."""
        slot = self._slots[i]
        self._send(i, action)
        slot.actions.append(action)
        slot.tries, slot.failure, slot.restarted = 0, None, False

    def _restart(self, i: int) -> None:
        slot = self._slots[i]
        slot.played = 0
        task, seed = slot.task
        slot.request = self._session.reset(i, task=task, seed=seed, **self._reset_options)

    def _send(self, i: int, action: str) -> None:
        slot = self._slots[i]
        slot.request = self._session.step(i, action, dialect=self._dialect)
        slot.played += 1

    def _run(
        self, chosen: Iterable[int], *, reset_done: bool = False
    ) -> tuple[dict[int, Transition], dict[int, tuple[dict[str, Any], dict[str, Any], Transition]]]:
        """Receives until every chosen slot has carried out what was queued for it.

        With `reset_done`, a slot whose episode ends starts the next at once; its last observation, info and transition are
        then in the second result.
        """
        waiting = set(chosen)
        results: dict[int, Transition] = {}
        finals: dict[int, tuple[dict[str, Any], dict[str, Any], Transition]] = {}
        while waiting:
            for outcome in self._receive():
                i = outcome.slot
                if i not in waiting or outcome.request_id != self._slots[i].request:
                    continue  # a Prepare, which is a hint: if it failed, the reset does its work
                transition = self._advance(i, outcome)
                if transition is None:
                    continue
                if reset_done and transition.done:
                    info = self._take(i, transition)
                    finals[i] = (self._obs[i], info, transition)
                    self._begin(i)
                    continue
                results[i] = transition
                waiting.discard(i)
                if self._prepare and transition.reset_report is not None:
                    self._prepare_following(i)
        self._session.flush()
        return results, finals

    def _receive(self) -> list[Outcome]:
        outcomes = self._session.recv(timeout=self._patience)
        if not outcomes:
            raise FarmUnavailable(f"the farm sent no outcome for {self._patience:g} s")
        return outcomes

    def _prepare_following(self, i: int) -> None:
        slot = self._slots[i]
        slot.following = slot.following or self._curriculum(slot.rng)
        task, seed = slot.following
        self._session.prepare(i, task=task, seed=seed)

    def _advance(self, i: int, outcome: Outcome) -> Transition | None:
        """Takes one outcome of what was queued. None if more must come before there is a result."""
        slot = self._slots[i]
        failure = outcome.failure
        if failure is not None:
            self._recover(i, failure)
            return None
        transition = outcome.transition
        assert transition is not None, "reset and step give a transition or a failure"
        if slot.played == len(slot.actions):
            return transition
        # The episode is being brought back in a new sandbox.
        last = slot.played == len(slot.actions) - 1
        if transition.done or (last and slot.last is not None and not _same_view(transition.obs, slot.last.obs)):
            slot.tries += 1
            if slot.tries >= _ATTEMPTS:
                slot.actions = []
                slot.restarted = True
            self._restart(i)
        else:
            self._send(i, slot.actions[slot.played])
        return None

    def _recover(self, i: int, failure: Failure) -> None:
        slot = self._slots[i]
        slot.failure = str(failure)
        slot.tries += 1
        if self._retry and slot.played and _took_too_long(failure):
            slot.actions = []
            slot.restarted = True
        elif not (self._retry and failure.retryable) or slot.tries >= _ATTEMPTS:
            slot.done = True
            raise CommandFailed(failure, i)
        self._restart(i)

    # ---- Results --------------------------------------------------------------------------------------------------

    def _take(self, i: int, transition: Transition) -> dict[str, Any]:
        """Makes a transition the slot's newest; returns its info."""
        slot = self._slots[i]
        slot.last = transition
        slot.done = transition.done
        task, seed = slot.task
        info: dict[str, Any] = {"task": task, "seed": seed, "raw_reward": transition.raw_reward}
        result = transition.action_result
        if result is not None and result.error:
            info["action_error"] = result.error
        if transition.truncated:
            info["truncation_cause"] = transition.truncation_cause
        if slot.failure is not None:
            info["failure"] = slot.failure
            info["restarted"] = slot.restarted
        obs = transition.obs
        values = {}
        for kind, space in self._spaces.items():
            problem = obs.error(kind)
            if problem is None:
                values[kind] = obs[kind]
            else:
                info["observation_error"] = f"{kind}: {problem}"
                values[kind] = _nothing(space)
        self._obs[i] = values
        return info

    def _pairs(self, tasks: Any) -> list[tuple[str, int]]:
        """The task and seed of each environment, as `reset` was given them."""
        pairs = list(tasks)
        if len(pairs) != self.num_envs:
            raise ValueError(f"options['tasks'] has {len(pairs)} pairs for {self.num_envs} environments")
        for pair in pairs:
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and _is_seed(pair[1])):
                raise ValueError(f"options['tasks'] wants pairs of a task id and a seed (0 to 2**64 - 1), not {pair!r}")
            if pair[0] not in self._known:
                raise ValueError(f"options['tasks']: the farm has no task {pair[0]!r}")
        return [(task, int(seed)) for task, seed in pairs]

    def _batched(self) -> dict[str, Any]:
        out: Any = create_empty_array(self.single_observation_space, n=self.num_envs, fn=np.empty)
        batch: Any = concatenate(self.single_observation_space, self._obs, out)
        return cast("dict[str, Any]", batch)

    def _checked(self, mask: Any) -> NDArray[np.bool_]:
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"reset_mask must be a bool array of shape ({self.num_envs},) with at least one True")
        return mask


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, (int, np.integer)) and 0 <= int(seed) < 2**64


def _chosen(tasks: Iterable[str], known: Sequence[str], environment: str) -> list[str]:
    """The tasks to draw from, each of which must be known."""
    if isinstance(tasks, str):
        raise ValueError(f"tasks must be a list of task ids, such as [{tasks!r}], not one string")
    chosen = list(tasks)
    if not chosen:
        raise ValueError("tasks must have at least one task id")
    missing = sorted({repr(task) for task in chosen if task not in known})
    if missing:
        raise ValueError(f"environment {environment!r} has no tasks {', '.join(missing)}; `farm.tasks` lists those it has")
    return chosen


def _check_episodes(
    dialect: str | None,
    reset_mode: str | None,
    step_limit: int | None,
    time_limit: float | None,
    step_timeout: float,
    reset_timeout: float,
) -> None:
    """Raises ValueError for what every reset or step would be refused for."""
    if dialect is not None:
        choice(DIALECTS, "dialect", dialect)
    if reset_mode is not None:
        choice(MODES, "reset_mode", reset_mode)
    if step_limit is not None and not 0 < step_limit < 2**32:
        raise ValueError(f"step_limit must be more than 0 and less than 2**32, not {step_limit}")
    if time_limit is not None:
        milliseconds("time_limit", time_limit)
    milliseconds("step_timeout", step_timeout)
    milliseconds("reset_timeout", reset_timeout)


def _took_too_long(failure: Failure) -> bool:
    """Whether an action used up the time of its step. One that only waited for its turn has not begun."""
    return failure.code == "deadline_exceeded" and failure.action_may_have_applied


def _nothing(space: gym.Space[Any]) -> Any:
    """Stands for an observation that could not be taken."""
    if isinstance(space, gym.spaces.Box):
        return np.zeros(space.shape, space.dtype)
    return "" if isinstance(space, Unicode) else {}


def _same_view(now: Observations, before: Observations) -> bool:
    """Whether the agent sees what it saw: all texts alike, or the pictures where there is no text.

    Pixels are the weaker witness: a blinking caret changes them.
    """
    texts = [kind for kind in before if kind not in PICTURES]
    for kind in texts or list(before):
        if kind == "browsergym":
            # The object also carries times and a renderer's own node numbers.
            if _elements(now[kind]) != _elements(before[kind]):
                return False
        elif now.content_hash(kind) != before.content_hash(kind):
            return False
    return True


def _elements(obs: dict[str, Any]) -> list[tuple[Any, ...]]:
    nodes = obs["axtree_object"]["nodes"]
    return [(obs["url"],), *((node.get("browsergym_id"), node.get("role"), node.get("name")) for node in nodes)]


def make_vec(
    environment: str,
    *,
    num_envs: int,
    tasks: Sequence[str] | None = None,
    farm: Farm | None = None,
    observations: Iterable[str] = ("screenshot", "axtree_txt", "goal"),
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    curriculum: Curriculum | None = None,
    dialect: str | None = None,
    on_failure: str = "retry",
    prepare: bool = True,
    step_limit: int | None = None,
    time_limit: float | None = None,
    reset_mode: str | None = None,
    step_timeout: float = 30.0,
    reset_timeout: float = 60.0,
) -> FarmVectorEnv:
    """A `gymnasium.vector.VectorEnv` whose sub-environments are slots of a farm.

    Observations are a dict by kind (syntax: `envfarm.observations`): pictures are uint8 arrays, the rest text or JSON
    objects. Actions are strings in `dialect`, BrowserGym's if left out.

    tasks           ids to draw from, uniformly; all of the environment's if left out
    farm            where to lease the slots; a farm is launched, and ended by `close`, if left out
    curriculum      draws task and seed of each next episode in place of that; asked one episode ahead with `prepare`
    on_failure      "retry" brings an episode back after a failure of the farm; "raise" raises CommandFailed
    prepare         readies every slot's next episode ahead, for a second sandbox's memory a slot
    step_limit, time_limit, reset_mode    of every episode, as in `Session.reset`
    step_timeout, reset_timeout           seconds

    `env.reset(options={"tasks": [(id, seed), ...]})`, one pair for each environment, plays exactly those: an evaluation set,
    or a group of rollouts of one task. What cannot be is a ValueError here, not at the first reset.
    """
    return FarmVectorEnv(
        environment,
        num_envs=num_envs,
        tasks=tasks,
        farm=farm,
        observations=observations,
        autoreset_mode=autoreset_mode,
        curriculum=curriculum,
        dialect=dialect,
        on_failure=on_failure,
        prepare=prepare,
        step_limit=step_limit,
        time_limit=time_limit,
        reset_mode=reset_mode,
        step_timeout=step_timeout,
        reset_timeout=reset_timeout,
    )
