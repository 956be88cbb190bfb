"""The hot path: one stream that carries batches of commands out and outcomes in, first come first served.

Commands queue until the next `recv` or `flush` and then leave in one message. A thread moves what arrives into a queue;
everything else happens in the caller's thread. A stream that is lost is replaced and its unanswered commands are sent
again under their old ids, so the caller sees nothing but time pass.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from envfarm import _wire
from envfarm._book import Book
from envfarm._proto import envfarm_pb2 as pb
from envfarm.errors import FarmError, FarmUnavailable
from envfarm.observations import parse_specs
from envfarm.outcome import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

    from envfarm.farm import Farm

#: Seconds for which a lost stream is tried to be replaced before FarmUnavailable is raised.
REATTACH_SECONDS = 30.0


class Session(Book):
    """Drives the slots of a lease: `reset`, `step`, `observe`, `snapshot` and `prepare` queue commands, `recv` sends them
    and returns outcomes of whichever slots are ready. To be used by one thread at a time.
    """

    def __init__(self, farm: Farm, lease_id: str, slots: int, observations: Iterable[str], timeout: float) -> None:
        super().__init__(slots, timeout)
        self._farm = farm
        self._attach = pb.Attach(lease_id=lease_id, observations=parse_specs(observations))
        self._stream = self._open()

    def flush(self) -> None:
        """Sends what is queued, without waiting for anything."""
        self._check()
        commands = self._take_queued()
        if commands:
            self._stream.send(pb.RolloutRequest(commands=pb.CommandBatch(commands=commands)))

    def recv(self, min: int = 1, timeout: float = 30.0) -> list[Outcome]:
        """Sends what is queued and waits until at least `min` outcomes are there; returns all that are.

        Never waits for more than is in flight, and returns fewer, perhaps none, after `timeout` seconds. Since every
        command has its own deadline at the farm, none at all means that the farm is slow to answer, not that a page is.

        Raises FarmUnavailable, LeaseLost or SessionReplaced when the session has ended, and from then on at every call.
        """
        self.flush()
        deadline = time.monotonic() + timeout
        while len(self._arrived) < min and self.in_flight:
            try:
                self._take_in(self._stream.inbox.get(timeout=max(deadline - time.monotonic(), 0.0)))
            except queue.Empty:
                break
        while not self._stream.inbox.empty():
            self._take_in(self._stream.inbox.get())
        return self._take_arrived()

    def cancel(self, slot: int) -> None:
        """Asks the farm to give up what runs in this slot. Its outcome still comes, as the failure "cancelled" if it was
        in time.
        """
        self.flush()
        cancel = self._cancel(slot)
        if cancel is not None:
            self._stream.send(pb.RolloutRequest(cancel=cancel))

    def close(self) -> None:
        """Detaches. The lease and its episodes go on."""
        self._end()
        if self._farm.is_here():
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check(self) -> None:
        super()._check()
        self._farm.check_process()

    def _take_in(self, received: pb.RolloutResponse | FarmError) -> None:
        if not isinstance(received, FarmError):
            self._take(received)
            return
        try:
            self._reattach(received)
        except FarmError as error:
            self._end(error)
            raise
        except BaseException:
            self._stream.inbox.put(received)  # interrupted: the next call tries again
            raise

    def _open(self) -> _Stream:
        self._farm.check_process()
        stream = _Stream(self._farm, self._attach)
        try:
            attached = stream.attached()
        except FarmError:
            stream.close()
            raise
        again = self._attached(attached.slots)
        if again:
            stream.send(pb.RolloutRequest(commands=pb.CommandBatch(commands=again)))
        return stream

    def _reattach(self, cause: FarmError) -> None:
        """Replaces the stream. Raises `cause` where that is useless, FarmUnavailable where it does not succeed."""
        self._stream.close()
        deadline = time.monotonic() + REATTACH_SECONDS
        pause = 0.05
        while isinstance(cause, FarmUnavailable) and not self.draining and time.monotonic() < deadline:
            try:
                self._stream = self._open()
                return
            except FarmError as error:
                cause = error
            ended = self._farm.ended()
            if ended is not None:
                raise FarmUnavailable(ended)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 2.0)
        raise cause


class _Stream:
    """One gRPC stream: requests leave from a queue, responses are moved to another by a thread. The last item of `inbox`
    is the error that ended it.
    """

    def __init__(self, farm: Farm, attach: pb.Attach) -> None:
        self.inbox: queue.SimpleQueue[pb.RolloutResponse | FarmError] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[pb.RolloutRequest | None] = queue.SimpleQueue()
        self.send(pb.RolloutRequest(attach=attach))
        self._call: Any = farm.stub.Rollout(self._requests(), metadata=farm.metadata)
        self._reader = threading.Thread(target=self._read, name="envfarm-session", daemon=True)
        self._reader.start()

    def send(self, request: pb.RolloutRequest) -> None:
        self._outbox.put(request)

    def attached(self, timeout: float = 20.0) -> pb.Attached:
        """The answer to Attach, which comes first."""
        try:
            first = self.inbox.get(timeout=timeout)
        except queue.Empty:
            raise FarmUnavailable(f"the farm did not answer Attach within {timeout:g} s") from None
        if isinstance(first, FarmError):
            raise first
        return first.attached

    def close(self) -> None:
        self._outbox.put(None)
        self._call.cancel()
        self._reader.join()

    def _requests(self) -> Iterator[pb.RolloutRequest]:
        return iter(self._outbox.get, None)

    def _read(self) -> None:
        try:
            for response in self._call:
                self.inbox.put(response)
            self.inbox.put(FarmUnavailable("the farm ended the stream"))
        except grpc.RpcError as error:
            self.inbox.put(_wire.error(error.code(), error.details(), of_lease=True))
