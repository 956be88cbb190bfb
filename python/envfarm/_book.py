"""The client's side of a session without its I/O: where each slot stands, what waits to be sent, what is in flight.

Shared by the blocking and the async session. It stamps commands with request ids and fences, matches outcomes to them,
and says after a lost stream which commands to send again; the farm then replays those that ran and runs the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envfarm._names import numbers
from envfarm._proto import envfarm_pb2 as pb
from envfarm.errors import FarmError, FarmUnavailable
from envfarm.observations import parse_specs
from envfarm.outcome import Outcome, Snapshot, snapshot_id

#: What the farm takes of one action's text, in bytes of UTF-8.
MAX_TEXT_BYTES = 1 << 20

DIALECTS = numbers(pb.Dialect, "DIALECT_")
_LEVELS = numbers(pb.SnapshotLevel, "SNAPSHOT_LEVEL_")
MODES = numbers(pb.ResetMode, "RESET_MODE_")


class Book:
    """Commands and positions of all slots of one lease. Not thread-safe."""

    def __init__(self, slots: int, timeout: float) -> None:
        self.slots = slots
        self._timeout = timeout
        self._episode = [0] * slots
        self._step = [0] * slots
        self._running: list[pb.Command | None] = [None] * slots
        # Prepare runs beside the slot's other commands, so it is kept apart, by request id.
        self._beside: dict[int, pb.Command] = {}
        self._queued: list[pb.Command] = []
        self._next_id = 1
        self._arrived: list[Outcome] = []
        #: Why this session is of no use any more; every call raises it.
        self._fatal: FarmError | None = None
        #: Commands that have no outcome yet.
        self.in_flight = 0
        #: True once the farm said that it stops: it starts no new episodes.
        self.draining = False

    # ---- Commands -------------------------------------------------------------------------------------------------

    def reset(
        self,
        slot: int,
        *,
        task: str | None = None,
        seed: int = 0,
        snapshot: Snapshot | str | None = None,
        mode: str | None = None,
        step_limit: int | None = None,
        time_limit: float | None = None,
        timeout: float | None = None,
        observations: Iterable[str] | None = None,
    ) -> int:
        """Queues the start of a new episode, from a task and seed or from a snapshot (or its id). Returns the
        request id.

        `mode` is "fresh" or "in_place"; limits are in steps and seconds; what is left out is the environment's default.
        """
        if (task is None) == (snapshot is None):
            raise ValueError("reset takes either a task or a snapshot")
        reset = pb.Reset(
            mode=choice(MODES, "mode", mode) if mode else pb.RESET_MODE_UNSPECIFIED,
            step_limit=step_limit or 0,
            time_limit_ms=milliseconds("time_limit", time_limit) if time_limit is not None else 0,
        )
        if snapshot is not None:
            reset.snapshot_id = snapshot_id(snapshot)
        elif task is not None:
            reset.task.task_id = task
            reset.task.seed = seed
        return self._queue(self._command(slot, timeout, observations, reset=reset))

    def step(
        self,
        slot: int,
        action: str | pb.Action,
        *,
        dialect: str | None = None,
        timeout: float | None = None,
        observations: Iterable[str] | None = None,
    ) -> int:
        """Queues one action: text in a dialect (browsergym, webarena, autowebglm, webrl) or a typed `envfarm.Action`.

        A text with lone surrogates, or beyond what the farm takes (1 MiB), is sent as `sendable` says.
        """
        if isinstance(action, str):
            text = pb.ActionText(text=sendable(action))
            if dialect is not None:
                text.dialect = choice(DIALECTS, "dialect", dialect)
            step = pb.Step(text=text)
        else:
            step = pb.Step(typed=action)
        return self._queue(self._command(slot, timeout, observations, step=step))

    def observe(self, slot: int, *, timeout: float | None = None, observations: Iterable[str] | None = None) -> int:
        """Queues an observation without an action."""
        return self._queue(self._command(slot, timeout, observations, observe=pb.Observe()))

    def snapshot(self, slot: int, level: str = "replay", *, timeout: float | None = None) -> int:
        """Queues a snapshot, by "replay" (task, seed and actions, played again and compared) or of the "storage" (cookies,
        stored data, open tabs). Its outcome carries the snapshot that `reset` takes.
        """
        snapshot = pb.Snapshot(level=choice(_LEVELS, "level", level))
        return self._queue(self._command(slot, timeout, None, snapshot=snapshot))

    def prepare(self, slot: int, task: str, seed: int = 0, *, timeout: float | None = None) -> int:
        """Queues a hint: the next reset of this slot will be to this task and seed. It may run beside another command."""
        prepare = pb.Prepare(task=pb.TaskSeed(task_id=task, seed=seed))
        command = self._command(slot, timeout, None, prepare=prepare)
        self._beside[command.request_id] = command
        self._queued.append(command)
        self.in_flight += 1
        return command.request_id

    def _command(
        self,
        slot: int,
        timeout: float | None,
        observations: Iterable[str] | None,
        *,
        reset: pb.Reset | None = None,
        step: pb.Step | None = None,
        observe: pb.Observe | None = None,
        snapshot: pb.Snapshot | None = None,
        prepare: pb.Prepare | None = None,
    ) -> pb.Command:
        self._check()
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} is not one of the {self.slots} of this lease")
        command = pb.Command(
            request_id=self._next_id,
            slot=slot,
            expected_episode=self._episode[slot],
            expected_step=self._step[slot],
            timeout_ms=milliseconds("timeout", self._timeout if timeout is None else timeout),
            observations=None if observations is None else parse_specs(observations),
            reset=reset,
            step=step,
            observe=observe,
            snapshot=snapshot,
            prepare=prepare,
        )
        self._next_id += 1
        return command

    def _queue(self, command: pb.Command) -> int:
        running = self._running[command.slot]
        if running is not None:
            raise RuntimeError(f"slot {command.slot} has command {running.request_id} in flight; receive its outcome first")
        self._running[command.slot] = command
        self._queued.append(command)
        self.in_flight += 1
        return command.request_id

    # ---- Its end --------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raises what ended this session, if anything has."""
        if self._fatal is not None:
            raise self._fatal.with_traceback(None)

    def _end(self, error: FarmError | None = None) -> None:
        """Ends this session, by an error or because it was closed. The first end is the one that is told."""
        self._fatal = self._fatal or error or FarmUnavailable("this session is closed")

    # ---- The stream -----------------------------------------------------------------------------------------------

    def _take_queued(self) -> list[pb.Command]:
        """The commands to send now, in the order in which they were queued."""
        queued, self._queued = self._queued, []
        return queued

    def _take(self, response: pb.RolloutResponse) -> None:
        """Takes one message of the stream in."""
        if response.HasField("outcomes"):
            settle = self._settle
            self._arrived += [Outcome(message) for message in response.outcomes.outcomes if settle(message)]
        elif response.HasField("notice"):
            self.draining = self.draining or response.notice.draining

    def _take_arrived(self) -> list[Outcome]:
        """The outcomes that the caller has not had yet."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def _settle(self, outcome: pb.Outcome) -> bool:
        """Notes the outcome of a command. False if it answers nothing that is in flight, as after a re-attach."""
        slot = outcome.slot
        running = self._running[slot] if slot < self.slots else None
        if running is not None and running.request_id == outcome.request_id:
            self._running[slot] = None
            self._episode[slot] = outcome.episode
            self._step[slot] = outcome.step
        elif self._beside.pop(outcome.request_id, None) is None:
            return False
        self.in_flight -= 1
        return True

    def _attached(self, positions: Sequence[pb.SlotPosition]) -> list[pb.Command]:
        """Takes over the farm's view of the slots; returns the commands in flight, to be sent again as they were."""
        for position in positions:
            self._next_id = max(self._next_id, position.last_request_id + 1, position.in_flight_request_id + 1)
            if self._running[position.slot] is None:
                self._episode[position.slot] = position.episode
                self._step[position.slot] = position.step
        queued = {command.request_id for command in self._queued}
        unanswered = [*(command for command in self._running if command is not None), *self._beside.values()]
        return [command for command in unanswered if command.request_id not in queued]

    def _cancel(self, slot: int) -> pb.Cancel | None:
        """The message that cancels what runs in this slot, if anything does."""
        running = self._running[slot]
        return None if running is None else pb.Cancel(slot=slot, request_id=running.request_id)

    def position(self, slot: int) -> tuple[int, int]:
        """Episode and step of a slot, as of its last outcome."""
        return self._episode[slot], self._step[slot]


def sendable(text: str) -> str:
    """An action's text as the farm can take it.

    Lone surrogates, which UTF-8 has not, become question marks. In place of a text that is too long goes a remark that no
    dialect reads as an action, so that the step answers a parse error; a part of the text might do a part of what it says.
    """
    data = text.encode(errors="replace")
    if len(data) > MAX_TEXT_BYTES:
        return f"A text of {len(data)} bytes is no action: at most {MAX_TEXT_BYTES} are read."
    return data.decode()


def milliseconds(what: str, seconds: float) -> int:
    rounded = round(seconds * 1000)
    if not 0 < rounded < 2**32:
        raise ValueError(f"{what} must be more than 0 and less than 2**32 milliseconds, not {seconds} s")
    return rounded


def choice(table: dict[str, Any], what: str, name: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} {name!r} is not one of {', '.join(table)}")
    return table[name]
