"""What comes back for each command: thin views over the received message.

They are built for every outcome of the hot path, so they hold a reference and read a field when asked for it; nothing is
copied and nothing decoded ahead of use.
"""

from __future__ import annotations

from envfarm._names import names
from envfarm._proto import envfarm_pb2 as pb
from envfarm.observations import Observations

_FAILURES = names(pb.FailureCode, "FAILURE_CODE_")
_STATES = names(pb.SlotState, "SLOT_STATE_")
_STATUSES = names(pb.ActionStatus, "ACTION_STATUS_")
_CAUSES = names(pb.TruncationCause, "TRUNCATION_CAUSE_")
_STRATEGIES = names(pb.ResetStrategy, "RESET_STRATEGY_")
_LEVELS = names(pb.SnapshotLevel, "SNAPSHOT_LEVEL_")


def _name(table: dict[int, str], number: int) -> str:
    return table.get(number) or f"unknown_{number}"


class Timing:
    """Where the time of a command went, in seconds."""

    __slots__ = ("_pb",)

    def __init__(self, message: pb.Timing) -> None:
        self._pb = message

    @property
    def queue(self) -> float:
        """Waiting for a sandbox or for the gate."""
        return self._pb.queue_us / 1e6

    @property
    def act(self) -> float:
        """Performing the action, or setting the task up."""
        return self._pb.act_us / 1e6

    @property
    def settle(self) -> float:
        return self._pb.settle_us / 1e6

    @property
    def observe(self) -> float:
        return self._pb.observe_us / 1e6

    @property
    def score(self) -> float:
        return self._pb.score_us / 1e6

    @property
    def total(self) -> float:
        return self._pb.total_us / 1e6


class ActionResult:
    """What became of the action of a step. An action that cannot be done is the agent's affair, not a failure."""

    __slots__ = ("_pb",)

    def __init__(self, message: pb.ActionResult) -> None:
        self._pb = message

    @property
    def status(self) -> str:
        """ok, parse_error, no_such_element, not_interactable, refused, timed_out, unsupported or failed."""
        return _name(_STATUSES, self._pb.status)

    @property
    def error(self) -> str:
        """Empty if the status is ok."""
        return self._pb.error

    @property
    def answer(self) -> str:
        """What the agent said with this action, if anything."""
        return self._pb.answer

    @property
    def notes(self) -> list[str]:
        """Dialogs that were answered, downloads refused, tabs opened."""
        return list(self._pb.notes)


class ResetReport:
    """How a reset reached its start state, and what was checked."""

    __slots__ = ("_pb",)

    def __init__(self, message: pb.ResetReport) -> None:
        self._pb = message

    @property
    def strategy(self) -> str:
        """fresh, prepared, in_place, storage or replay."""
        return _name(_STRATEGIES, self._pb.strategy)

    @property
    def verified_clean(self) -> bool:
        return self._pb.verified_clean

    @property
    def check(self) -> str:
        """What was checked, in words."""
        return self._pb.check

    @property
    def duration(self) -> float:
        """Seconds."""
        return self._pb.duration_us / 1e6

    @property
    def goal(self) -> str:
        return self._pb.goal

    @property
    def task(self) -> str:
        return self._pb.task_id

    @property
    def seed(self) -> int:
        return self._pb.seed

    @property
    def step_limit(self) -> int | None:
        return self._pb.step_limit or None

    @property
    def time_limit(self) -> float | None:
        """Seconds."""
        return self._pb.time_limit_ms / 1e3 or None

    @property
    def host(self) -> str:
        return self._pb.host


class Transition:
    """The result of a reset, a step or an observe."""

    __slots__ = ("_obs", "_pb")

    def __init__(self, message: pb.Transition) -> None:
        self._pb = message
        self._obs: Observations | None = None

    @property
    def obs(self) -> Observations:
        if self._obs is None:
            self._obs = Observations(self._pb.observations)
        return self._obs

    @property
    def reward(self) -> float:
        """Of this step."""
        return self._pb.reward

    @property
    def raw_reward(self) -> float:
        """As the task computes it."""
        return self._pb.raw_reward

    @property
    def terminated(self) -> bool:
        return self._pb.terminated

    @property
    def truncated(self) -> bool:
        return self._pb.truncated

    @property
    def done(self) -> bool:
        return self._pb.terminated or self._pb.truncated

    @property
    def truncation_cause(self) -> str | None:
        """step_limit, time_limit or shutdown."""
        cause = self._pb.truncation_cause
        return _name(_CAUSES, cause) if cause else None

    @property
    def action_result(self) -> ActionResult | None:
        """Of a step."""
        return ActionResult(self._pb.action_result) if self._pb.HasField("action_result") else None

    @property
    def reset_report(self) -> ResetReport | None:
        """Of a reset."""
        return ResetReport(self._pb.reset_report) if self._pb.HasField("reset_report") else None

    def __repr__(self) -> str:
        end = " terminated" if self.terminated else f" truncated ({self.truncation_cause})" if self.truncated else ""
        return f"<Transition reward={self.reward:g}{end}>"


class Failure:
    """The farm broke, or refused the command. Never a reward, never a truncation."""

    __slots__ = ("_pb",)

    def __init__(self, message: pb.Failure) -> None:
        self._pb = message

    @property
    def code(self) -> str:
        """E.g. host_lost, sandbox_lost, deadline_exceeded, wrong_step, unknown_task; all are in the API's FailureCode."""
        return _name(_FAILURES, self._pb.code)

    @property
    def reason(self) -> str:
        return self._pb.reason

    @property
    def slot_state(self) -> str:
        """After the failure: empty, running, over or lost."""
        return _name(_STATES, self._pb.slot_state)

    @property
    def action_may_have_applied(self) -> bool:
        return self._pb.action_may_have_applied

    @property
    def field(self) -> str | None:
        """The field of the command for which it was refused."""
        return self._pb.field or None

    @property
    def retryable(self) -> bool:
        """A reset (or, if nothing was applied, the same command) may well succeed."""
        return self._pb.retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"

    def __repr__(self) -> str:
        return f"<Failure {self}>"


class Snapshot:
    """A saved state, to which any slot of the same environment can be reset."""

    __slots__ = ("_pb",)

    def __init__(self, message: pb.SnapshotInfo) -> None:
        self._pb = message

    @property
    def id(self) -> str:
        return self._pb.id

    @property
    def environment(self) -> str:
        return self._pb.environment

    @property
    def level(self) -> str:
        """How exact it is: storage or replay."""
        return _name(_LEVELS, self._pb.level)

    @property
    def task(self) -> str:
        return self._pb.task_id

    @property
    def seed(self) -> int:
        return self._pb.seed

    @property
    def step(self) -> int:
        """Steps taken when it was made."""
        return self._pb.step

    @property
    def size_bytes(self) -> int:
        return self._pb.size_bytes

    @property
    def created_at(self) -> float:
        """Seconds since the Unix epoch, by the farm's clock."""
        return self._pb.created_unix_ms / 1e3

    @property
    def fingerprint(self) -> str:
        return self._pb.fingerprint

    def __repr__(self) -> str:
        return f"<Snapshot {self.id} {self.level} of {self.task} at step {self.step}>"


def snapshot_id(snapshot: Snapshot | str) -> str:
    """The id of a snapshot, which may be given as such."""
    return snapshot.id if isinstance(snapshot, Snapshot) else snapshot


class Outcome:
    """What came of one command. Exactly one of transition, failure, snapshot and `prepared` is there."""

    __slots__ = ("_pb", "_transition", "slot")

    def __init__(self, message: pb.Outcome) -> None:
        self._pb = message
        self.slot: int = message.slot
        self._transition: Transition | None = None

    @property
    def request_id(self) -> int:
        """As `Session.reset` and its siblings returned it."""
        return self._pb.request_id

    @property
    def episode(self) -> int:
        """Of the slot after the command; grows by one with every reset that begins."""
        return self._pb.episode

    @property
    def step(self) -> int:
        """Of the slot after the command."""
        return self._pb.step

    @property
    def transition(self) -> Transition | None:
        if self._transition is None and self._pb.HasField("transition"):
            self._transition = Transition(self._pb.transition)
        return self._transition

    @property
    def failure(self) -> Failure | None:
        return Failure(self._pb.failure) if self._pb.HasField("failure") else None

    @property
    def snapshot(self) -> Snapshot | None:
        return Snapshot(self._pb.snapshot) if self._pb.HasField("snapshot") else None

    @property
    def prepared(self) -> bool:
        return self._pb.HasField("prepared")

    @property
    def timing(self) -> Timing:
        return Timing(self._pb.timing)

    @property
    def replayed(self) -> bool:
        """Recorded earlier and sent again, after a lost stream."""
        return self._pb.replayed

    def __repr__(self) -> str:
        result = self.transition or self.failure or self.snapshot or "prepared"
        return f"<Outcome slot={self.slot} episode={self.episode} step={self.step} {result!r}>"
