"""A farm in this process, for the faults that a real one cannot be made to have on demand.

One environment, `counter`: the page is a number, the action "inc" adds one, an episode terminates with reward 1 at `goal`
and is truncated after five steps. It fences and replays as the API says, and can be told to fail, drop or forget.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import PIL.Image

from envfarm import pb
from envfarm._proto import envfarm_pb2_grpc as rpc

WIDTH, HEIGHT, STEP_LIMIT = 20, 10, 5

#: Given a command, says how it fails; None lets it run.
Fault = Callable[[pb.Command], pb.Failure | None]


class Slot:
    def __init__(self, number: int) -> None:
        self.position = pb.SlotPosition(slot=number, state=pb.SLOT_STATE_EMPTY)
        self.last: pb.Outcome | None = None
        self.task = pb.TaskSeed()
        self.count = 0


class FakeFarm(rpc.EnvFarmServicer):
    def __init__(self, *, token: str | None = None, goal: int = 3, ttl_ms: int = 60_000) -> None:
        self.goal = goal
        self.token = token
        self.ttl_ms = ttl_ms
        self.fault: Fault = lambda command: None
        #: Breaks the stream before this many more outcomes have been sent (they are carried out all the same).
        self.drop_after: int | None = None
        self.leases: dict[str, list[Slot]] = {}
        self.commands: list[pb.Command] = []
        self.batches: list[int] = []
        self.renewals = 0
        self.attachments = 0
        self.renewed = threading.Event()
        #: Added to the page where it is not empty, so that a replayed episode shows something else.
        self.noise = ""

    # ---- Unary calls ----

    def ListEnvironments(self, request: Any, context: Any) -> Any:
        environment = pb.Environment(name="counter", viewport_width=WIDTH, viewport_height=HEIGHT, task_count=5)
        return pb.ListEnvironmentsResponse(environments=[environment])

    def ListTasks(self, request: Any, context: Any) -> Any:
        first = int(request.page_token or 0)
        following = str(first + 2) if first + 2 < 5 else ""
        tasks = [pb.Task(id=f"task-{i}") for i in range(first, min(first + 2, 5))]
        return pb.ListTasksResponse(tasks=tasks, next_page_token=following)

    def Acquire(self, request: Any, context: Any) -> Any:
        if request.environment != "counter":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no environment {request.environment}")
        self.leases.setdefault(request.client_token, [Slot(i) for i in range(request.slots)])
        return pb.AcquireResponse(lease=self.lease(request.client_token))

    def Renew(self, request: Any, context: Any) -> Any:
        if request.lease_id not in self.leases:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such lease")
        self.renewals += 1
        self.renewed.set()
        return pb.RenewResponse(lease=self.lease(request.lease_id))

    def Release(self, request: Any, context: Any) -> Any:
        self.leases.pop(request.lease_id, None)
        return pb.ReleaseResponse()

    def GetStatus(self, request: Any, context: Any) -> Any:
        if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        return pb.GetStatusResponse(version="fake", leases=len(self.leases))

    def lease(self, name: str) -> pb.Lease:
        return pb.Lease(id=name, environment="counter", slots=len(self.leases[name]), expires_in_ms=self.ttl_ms)

    # ---- The stream ----

    def Rollout(self, requests: Iterator[pb.RolloutRequest], context: Any) -> Iterator[pb.RolloutResponse]:
        attach = next(requests).attach
        if attach.lease_id not in self.leases:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such lease")
        self.attachments += 1
        slots = self.leases[attach.lease_id]
        attached = pb.Attached(lease=self.lease(attach.lease_id), slots=[slot.position for slot in slots])
        yield pb.RolloutResponse(attached=attached)
        for request in requests:
            self.batches.append(len(request.commands.commands))
            outcomes = [self.run(slots, attach.observations, command) for command in request.commands.commands]
            if self.drop_after is not None:
                if self.drop_after < len(outcomes):
                    yield pb.RolloutResponse(outcomes=pb.OutcomeBatch(outcomes=outcomes[: self.drop_after]))
                    self.drop_after = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "dropped")
                self.drop_after -= len(outcomes)
            yield pb.RolloutResponse(outcomes=pb.OutcomeBatch(outcomes=outcomes))

    def run(self, slots: list[Slot], session: pb.ObservationSet, command: pb.Command) -> pb.Outcome:
        self.commands.append(command)
        slot = slots[command.slot]
        position = slot.position
        if slot.last is not None and slot.last.request_id == command.request_id:
            return pb.Outcome(**{**_fields(slot.last), "replayed": True})
        outcome = pb.Outcome(request_id=command.request_id, slot=command.slot)
        beside = command.HasField("prepare")
        failure = self.refuse(command, position) or self.fault(command)
        wanted = command.observations if command.HasField("observations") else session
        if failure is None and command.HasField("reset"):
            position.episode, position.step, position.state = position.episode + 1, 0, pb.SLOT_STATE_RUNNING
            slot.task, slot.count = command.reset.task, 0
            report = pb.ResetReport(strategy=pb.RESET_STRATEGY_FRESH, task_id=slot.task.task_id, seed=slot.task.seed)
            outcome.transition.CopyFrom(pb.Transition(observations=self.observe(slot, wanted), reset_report=report))
        elif failure is None and command.HasField("step"):
            position.step += 1
            slot.count += command.step.text.text == "inc"
            transition = pb.Transition(observations=self.observe(slot, wanted))
            transition.terminated = slot.count >= self.goal
            transition.reward = float(transition.terminated)
            transition.truncated = not transition.terminated and position.step >= STEP_LIMIT
            if transition.truncated:
                transition.truncation_cause = pb.TRUNCATION_CAUSE_STEP_LIMIT
            if command.step.text.text != "inc":
                transition.action_result.CopyFrom(pb.ActionResult(status=pb.ACTION_STATUS_PARSE_ERROR, error="not inc"))
            if transition.terminated or transition.truncated:
                position.state = pb.SLOT_STATE_OVER
            outcome.transition.CopyFrom(transition)
        elif failure is None and command.HasField("observe"):
            outcome.transition.CopyFrom(pb.Transition(observations=self.observe(slot, wanted)))
        elif failure is None and command.HasField("snapshot"):
            outcome.snapshot.CopyFrom(pb.SnapshotInfo(id="snapshot-1", level=command.snapshot.level))
        elif failure is None:
            outcome.prepared.SetInParent()
        else:
            outcome.failure.CopyFrom(failure)
            if failure.slot_state == pb.SLOT_STATE_LOST:
                position.state = pb.SLOT_STATE_LOST
                position.episode += command.HasField("reset")
        outcome.episode, outcome.step = position.episode, position.step
        if not beside:
            slot.last = outcome
            position.last_request_id = command.request_id
        return outcome

    def refuse(self, command: pb.Command, position: pb.SlotPosition) -> pb.Failure | None:
        if command.expected_episode != position.episode:
            return pb.Failure(code=pb.FAILURE_CODE_WRONG_EPISODE, reason=f"at {position.episode}")
        if command.HasField("step") and position.state != pb.SLOT_STATE_RUNNING:
            return pb.Failure(code=pb.FAILURE_CODE_NO_EPISODE, reason="reset first")
        if command.HasField("step") and command.expected_step != position.step:
            return pb.Failure(code=pb.FAILURE_CODE_WRONG_STEP, reason=f"at {position.step}")
        return None

    def observe(self, slot: Slot, wanted: pb.ObservationSet) -> list[pb.Observation]:
        page = f"{slot.task.task_id} {slot.task.seed}: {slot.count}{self.noise}"
        observations = []
        for spec in wanted.specs:
            if spec.kind == pb.OBSERVATION_KIND_SCREENSHOT:
                data = _picture(slot.count)
                observations.append(pb.Observation(kind=spec.kind, encoding=pb.ENCODING_PNG, data=data))
            elif spec.kind == pb.OBSERVATION_KIND_HTML:
                observations.append(pb.Observation(kind=spec.kind, encoding=pb.ENCODING_TEXT, error="no html"))
            else:
                observations.append(pb.Observation(kind=spec.kind, encoding=pb.ENCODING_TEXT, data=page.encode()))
            observations[-1].content_hash = hash(observations[-1].data) % 2**63
        return observations


def lost() -> pb.Failure:
    """What a slot gets whose browser was killed."""
    return pb.Failure(
        code=pb.FAILURE_CODE_HOST_LOST,
        reason="killed",
        slot_state=pb.SLOT_STATE_LOST,
        retryable=True,
        action_may_have_applied=True,
    )


class Faults:
    """Fails the commands of one slot whose running number (from 0, Prepare not counted) is listed."""

    def __init__(self, slot: int, *numbers: int) -> None:
        self.slot = slot
        self.numbers = set(numbers)
        self.seen: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self, command: pb.Command) -> pb.Failure | None:
        if command.slot != self.slot or command.HasField("prepare"):
            return None
        number = self.seen.qsize()
        self.seen.put(None)
        return lost() if number in self.numbers else None


def serve(farm: FakeFarm, tls: grpc.ServerCredentials | None = None) -> tuple[grpc.Server, str]:
    """Serves on a free loopback port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    rpc.add_EnvFarmServicer_to_server(farm, server)
    port = server.add_secure_port("127.0.0.1:0", tls) if tls else server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def _picture(shade: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def _fields(message: pb.Outcome) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
