"""The same verbs for asyncio: `await envfarm.aio.connect(...)`, `farm.acquire`, `lease.session`, `session.recv`.

    async with await envfarm.aio.connect(address) as farm:
        async with await farm.acquire("miniwob", slots=16) as lease, await lease.session() as session:
            session.reset(0, task="click-test-2", seed=7)
            for outcome in await session.recv():
                ...

`envfarm.launch` starts a farm whose `address` this connects to.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from envfarm import _wire
from envfarm._book import Book
from envfarm._proto import envfarm_pb2 as pb
from envfarm._proto.envfarm_pb2_grpc import EnvFarmStub
from envfarm.errors import FarmError, FarmUnavailable, LeaseLost
from envfarm.observations import parse_specs
from envfarm.outcome import Outcome, Snapshot, snapshot_id
from envfarm.session import REATTACH_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self


async def connect(address: str, *, token: str | None = None, tls: bool | _wire.Tls = False, timeout: float = 20.0) -> AsyncFarm:
    """As `envfarm.connect`."""
    farm = AsyncFarm(address, token=token, tls=tls)
    try:
        await asyncio.wait_for(farm.channel.channel_ready(), timeout)
        await farm.status()
    except asyncio.TimeoutError:
        await farm.close()
        raise FarmUnavailable(f"no farm answered at {address} within {timeout:g} s") from None
    except FarmError:
        await farm.close()
        raise
    return farm


class AsyncFarm:
    """As `envfarm.Farm`."""

    def __init__(self, address: str, *, token: str | None = None, tls: bool | _wire.Tls = False) -> None:
        self.address = address
        self.metadata = _wire.metadata(token)
        secure = _wire.tls_of(tls)
        options = _wire.options(secure)
        if secure is not None:
            self.channel = grpc.aio.secure_channel(address, _wire.credentials(secure), options)
        else:
            self.channel = grpc.aio.insecure_channel(address, options)
        self.stub = EnvFarmStub(self.channel)  # type: ignore[no-untyped-call]

    async def environments(self) -> list[pb.Environment]:
        return list((await self.call("ListEnvironments", pb.ListEnvironmentsRequest())).environments)

    async def tasks(self, environment: str) -> list[pb.Task]:
        tasks: list[pb.Task] = []
        token = ""
        while True:
            page = await self.call("ListTasks", pb.ListTasksRequest(environment=environment, page_token=token))
            tasks += page.tasks
            token = page.next_page_token
            if not token:
                return tasks

    async def acquire(self, environment: str, *, slots: int, ttl: float | None = None, timeout: float = 60.0) -> AsyncLease:
        """As `envfarm.Farm.acquire`; a task of the running loop renews the lease."""
        ttl_ms = 0 if ttl is None else round(ttl * 1000)
        request = pb.AcquireRequest(client_token=uuid.uuid4().hex, environment=environment, slots=slots, ttl_ms=ttl_ms)
        return AsyncLease(self, (await self.call("Acquire", request, timeout=timeout)).lease, ttl_ms)

    async def snapshots(self, environment: str = "") -> list[Snapshot]:
        answer = await self.call("ListSnapshots", pb.ListSnapshotsRequest(environment=environment))
        return [Snapshot(item) for item in answer.snapshots]

    async def delete_snapshot(self, snapshot: Snapshot | str) -> None:
        await self.call("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=snapshot_id(snapshot)))

    async def status(self) -> pb.GetStatusResponse:
        status: pb.GetStatusResponse = await self.call("GetStatus", pb.GetStatusRequest())
        return status

    async def call(self, method: str, request: Any, *, timeout: float = 20.0, of_lease: bool = False) -> Any:
        try:
            return await getattr(self.stub, method)(request, timeout=timeout, metadata=self.metadata, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise _wire.error(error.code(), error.details(), of_lease=of_lease) from None

    async def close(self) -> None:
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncLease:
    """As `envfarm.Lease`."""

    def __init__(self, farm: AsyncFarm, lease: pb.Lease, ttl_ms: int) -> None:
        self.farm = farm
        self.id = lease.id
        self.environment = lease.environment
        self.slots = lease.slots
        self._ttl_ms = ttl_ms
        self._renewer = asyncio.create_task(self._renew(lease.expires_in_ms / 1000))

    async def session(self, *, observations: Iterable[str] = (), timeout: float = 60.0) -> AsyncSession:
        """As `envfarm.Lease.session`."""
        session = AsyncSession(self, observations, timeout)
        await session._open()
        return session

    async def release(self) -> None:
        if self._renewer.cancel():
            await self.farm.call("Release", pb.ReleaseRequest(lease_id=self.id), timeout=5.0)

    async def _renew(self, expires_in: float) -> None:
        while True:
            await asyncio.sleep(expires_in / 3)
            try:
                request = pb.RenewRequest(lease_id=self.id, ttl_ms=self._ttl_ms)
                answer = await self.farm.call("Renew", request, timeout=max(expires_in / 3, 1.0), of_lease=True)
                expires_in = answer.lease.expires_in_ms / 1000
            except LeaseLost:
                return
            except FarmError:
                continue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(FarmError):
            await self.release()


class AsyncSession(Book):
    """As `envfarm.Session`: `reset`, `step` and their siblings queue, `await recv()` sends and receives."""

    def __init__(self, lease: AsyncLease, observations: Iterable[str], timeout: float) -> None:
        super().__init__(lease.slots, timeout)
        self._farm = lease.farm
        self._attach = pb.Attach(lease_id=lease.id, observations=parse_specs(observations))
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[pb.RolloutResponse | FarmError] = asyncio.Queue()

    async def flush(self) -> None:
        """As `envfarm.Session.flush`."""
        self._check()
        commands = self._take_queued()
        if commands:
            await self._send(pb.RolloutRequest(commands=pb.CommandBatch(commands=commands)))

    async def recv(self, min: int = 1, timeout: float = 30.0) -> list[Outcome]:
        """As `envfarm.Session.recv`."""
        await self.flush()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while len(self._arrived) < min and self.in_flight:
            try:
                await self._take_in(await asyncio.wait_for(self._inbox.get(), max(deadline - loop.time(), 0.0)))
            except asyncio.TimeoutError:
                break
        while not self._inbox.empty():
            await self._take_in(self._inbox.get_nowait())
        return self._take_arrived()

    async def cancel(self, slot: int) -> None:
        """As `envfarm.Session.cancel`."""
        await self.flush()
        cancel = self._cancel(slot)
        if cancel is not None:
            await self._send(pb.RolloutRequest(cancel=cancel))

    async def close(self) -> None:
        """Detaches. The lease and its episodes go on."""
        self._end()
        await self._detach()

    async def _detach(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _take_in(self, received: pb.RolloutResponse | FarmError) -> None:
        if not isinstance(received, FarmError):
            self._take(received)
            return
        try:
            await self._reattach(received)
        except FarmError as error:
            self._end(error)
            raise
        except BaseException:
            self._inbox.put_nowait(received)  # cancelled: the next call tries again
            raise

    async def _send(self, request: pb.RolloutRequest) -> None:
        # A broken stream is noticed, and mended, where it is read; what was sent into it is then sent again.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(request)

    async def _open(self) -> None:
        self._call = self._farm.stub.Rollout(metadata=self._farm.metadata)
        self._inbox = asyncio.Queue()
        self._reader = asyncio.create_task(_read(self._call, self._inbox))
        await self._send(pb.RolloutRequest(attach=self._attach))
        try:
            first = await asyncio.wait_for(self._inbox.get(), 20.0)
        except asyncio.TimeoutError:
            first = FarmUnavailable("the farm did not answer Attach within 20 s")
        if isinstance(first, FarmError):
            await self._detach()
            raise first
        again = self._attached(first.attached.slots)
        if again:
            await self._send(pb.RolloutRequest(commands=pb.CommandBatch(commands=again)))

    async def _reattach(self, cause: FarmError) -> None:
        await self._detach()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REATTACH_SECONDS
        pause = 0.05
        while isinstance(cause, FarmUnavailable) and not self.draining and loop.time() < deadline:
            try:
                await self._open()
                return
            except FarmError as error:
                cause = error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 2.0)
        raise cause


async def _read(call: Any, inbox: asyncio.Queue[pb.RolloutResponse | FarmError]) -> None:
    """Moves what a stream brings into the inbox; the last item is the error that ended it."""
    try:
        async for response in call:
            inbox.put_nowait(response)
        inbox.put_nowait(FarmUnavailable("the farm ended the stream"))
    except grpc.aio.AioRpcError as error:
        inbox.put_nowait(_wire.error(error.code(), error.details(), of_lease=True))
