"""A connection to a farm and the leases taken over it (the blocking side; `envfarm.aio` is the other)."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from envfarm import _wire
from envfarm._proto import envfarm_pb2 as pb
from envfarm._proto.envfarm_pb2_grpc import EnvFarmStub
from envfarm.errors import FarmError, FarmUnavailable, LeaseLost
from envfarm.outcome import Snapshot, snapshot_id
from envfarm.session import Session

if TYPE_CHECKING:
    from typing_extensions import Self


def connect(address: str, *, token: str | None = None, tls: bool | _wire.Tls = False, timeout: float = 20.0) -> Farm:
    """Connects to a running farm at "host:port" and waits until it answers.

    `timeout` is in seconds. Raises FarmUnavailable if nothing answers by then, AuthError for a wrong token.
    """
    farm = Farm(address, token=token, tls=tls)
    try:
        grpc.channel_ready_future(farm.channel).result(timeout=timeout)
        farm.status()
    except grpc.FutureTimeoutError:
        farm.close()
        raise FarmUnavailable(f"no farm answered at {address} within {timeout:g} s") from None
    except FarmError:
        farm.close()
        raise
    return farm


class Farm:
    """A farm that this process can use. Usually made by `envfarm.connect` or `envfarm.launch`."""

    #: Address of metrics, health and dashboard, and process id, where `launch` knows them.
    http: str | None = None
    pid: int | None = None

    def __init__(self, address: str, *, token: str | None = None, tls: bool | _wire.Tls = False) -> None:
        self.address = address
        self.metadata = _wire.metadata(token)
        secure = _wire.tls_of(tls)
        options = _wire.options(secure)
        if secure is not None:
            self.channel = grpc.secure_channel(address, _wire.credentials(secure), options)
        else:
            self.channel = grpc.insecure_channel(address, options)
        self.stub = EnvFarmStub(self.channel)  # type: ignore[no-untyped-call]
        #: Says how a launched farm ended, once it has; a farm of somebody else's says nothing.
        self.ended: Callable[[], str | None] = lambda: None
        self._on_close: list[Callable[[], None]] = []
        self._process = os.getpid()
        self.closed = False

    def environments(self) -> list[pb.Environment]:
        """What the farm offers."""
        return list(self.call("ListEnvironments", pb.ListEnvironmentsRequest()).environments)

    def environment(self, name: str) -> pb.Environment:
        """One environment by name. Raises KeyError that lists those there are."""
        offered = {environment.name: environment for environment in self.environments()}
        if name not in offered:
            raise KeyError(f"the farm has no environment {name!r}; it has {', '.join(sorted(offered))}")
        return offered[name]

    def tasks(self, environment: str) -> Iterator[pb.Task]:
        """All tasks of an environment."""
        token = ""
        while True:
            page = self.call("ListTasks", pb.ListTasksRequest(environment=environment, page_token=token))
            yield from page.tasks
            token = page.next_page_token
            if not token:
                return

    def acquire(self, environment: str, *, slots: int, ttl: float | None = None, timeout: float = 60.0) -> Lease:
        """Leases slots until the lease is released, or has not been renewed for `ttl` seconds (the farm's default if
        left out); this client renews it until then. Raises RequestError if the farm refuses.
        """
        request = pb.AcquireRequest(
            client_token=uuid.uuid4().hex,
            environment=environment,
            slots=slots,
            ttl_ms=0 if ttl is None else round(ttl * 1000),
        )
        return Lease(self, self.call("Acquire", request, timeout=timeout).lease, ttl)

    def snapshots(self, environment: str = "") -> list[Snapshot]:
        """Snapshots that the farm keeps, of one environment or of all."""
        answer = self.call("ListSnapshots", pb.ListSnapshotsRequest(environment=environment))
        return [Snapshot(item) for item in answer.snapshots]

    def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        """Deletes a snapshot; one that is not there is deleted already."""
        self.call("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=snapshot_id(snapshot)))

    def status(self) -> pb.GetStatusResponse:
        """Hosts, sandboxes, leases and memory, now."""
        status: pb.GetStatusResponse = self.call("GetStatus", pb.GetStatusRequest())
        return status

    def call(self, method: str, request: Any, *, timeout: float = 20.0, of_lease: bool = False) -> Any:
        """One unary call by name, with this farm's token; gRPC errors become those of `envfarm.errors`."""
        if self.closed:
            raise FarmUnavailable("this connection is closed")
        self.check_process()
        ended = self.ended()
        if ended is not None:
            raise FarmUnavailable(ended)
        try:
            return getattr(self.stub, method)(request, timeout=timeout, metadata=self.metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            raise _wire.error(error.code(), error.details(), of_lease=of_lease) from None

    def is_here(self) -> bool:
        """False in a process forked from the one that made this connection."""
        return self._process == os.getpid()

    def check_process(self) -> None:
        """Raises FarmUnavailable in a process forked from the one that made this connection."""
        if not self.is_here():
            raise FarmUnavailable(
                f"this farm was opened in another process: connect({self.address!r}) here, and start workers with spawn or "
                "forkserver, since gRPC does not survive a fork once it was used"
            )

    def on_close(self, callback: Callable[[], None]) -> None:
        """Has `callback` called once when the farm is closed; the last one given is called first."""
        self._on_close.append(callback)

    def close(self) -> None:
        """Ends the connection, and the farm itself if `launch` started it. In a forked process both stay as they are."""
        if self.closed:
            return
        self.closed = True
        if not self.is_here():
            return
        try:
            for callback in reversed(self._on_close):
                callback()
        finally:
            self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Lease:
    """A right to `slots` slots. A thread renews it until it is released."""

    def __init__(self, farm: Farm, lease: pb.Lease, ttl: float | None) -> None:
        self.farm = farm
        self.id = lease.id
        self.environment = lease.environment
        self.slots = lease.slots
        self._ttl_ms = 0 if ttl is None else round(ttl * 1000)
        self._released = threading.Event()
        self._renewer = threading.Thread(
            target=self._renew, args=(lease.expires_in_ms / 1000,), name=f"envfarm-lease-{lease.id[:8]}", daemon=True
        )
        self._renewer.start()

    def session(self, *, observations: Iterable[str] = (), timeout: float = 60.0) -> Session:
        """Attaches to the slots. `observations` are what every reset, step and observe returns unless it says otherwise,
        in the syntax of `envfarm.observations`; `timeout` (seconds) is that of a command unless it says otherwise.
        """
        return Session(self.farm, self.id, self.slots, observations, timeout)

    def release(self) -> None:
        """Gives the slots back and ends their episodes."""
        if self._released.is_set():
            return
        self._released.set()
        self.farm.call("Release", pb.ReleaseRequest(lease_id=self.id), timeout=5.0)

    def _renew(self, expires_in: float) -> None:
        # A third of the time to live leaves room for two attempts to fail. An attached session renews too; renewing beside
        # it costs one small call now and then and needs no agreement about who does it.
        while not self._released.wait(expires_in / 3):
            try:
                request = pb.RenewRequest(lease_id=self.id, ttl_ms=self._ttl_ms)
                answer = self.farm.call("Renew", request, timeout=max(expires_in / 3, 1.0), of_lease=True)
                expires_in = answer.lease.expires_in_ms / 1000
            except LeaseLost:
                return  # the session, or whoever attaches next, is told by the farm itself
            except FarmError:
                if self.farm.closed:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A farm that is gone has no slots to give back, and must not hide the error that is on its way.
        with contextlib.suppress(FarmError):
            self.release()
