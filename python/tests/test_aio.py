"""The async side against a fake farm: same verbs, same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import fake
import pytest

import envfarm.aio

Make = Callable[..., tuple[fake.FakeFarm, envfarm.Farm]]


def test_an_episode_a_lost_stream_and_a_release(fake_farm: Make) -> None:
    farm, client = fake_farm(goal=2)

    async def play() -> None:
        async with await envfarm.aio.connect(client.address) as connected:
            assert [task.id for task in await connected.tasks("counter")] == [f"task-{i}" for i in range(5)]
            async with (
                await connected.acquire("counter", slots=4) as lease,
                await lease.session(observations=["axtree_txt"]) as session,
            ):
                for slot in range(4):
                    session.reset(slot, task="task-0", seed=slot)
                assert len(await session.recv(min=4)) == 4
                assert await session.recv(min=9) == []
                farm.drop_after = 1
                for slot in range(4):
                    session.step(slot, "inc")
                outcomes = await session.recv(min=4)
                assert sum(outcome.replayed for outcome in outcomes) == 3
                assert {outcome.transition.obs["axtree_txt"].split(": ")[1] for outcome in outcomes} == {"1"}
                farm.fault = fake.Faults(2, 0)
                for slot in range(4):
                    session.step(slot, "inc")
                for outcome in await session.recv(min=4):
                    if outcome.slot == 2:
                        assert outcome.failure.code == "host_lost"
                    else:
                        assert outcome.transition.terminated and outcome.transition.reward == 1.0
        assert farm.leases == {}

    asyncio.run(play())


def test_errors_are_those_of_the_blocking_side(fake_farm: Make) -> None:
    farm, client = fake_farm(token="secret")

    async def play() -> None:
        with pytest.raises(envfarm.AuthError):
            await envfarm.aio.connect(client.address, token="guess")
        with pytest.raises(envfarm.FarmUnavailable, match="no farm answered"):
            await envfarm.aio.connect("127.0.0.1:1", timeout=0.3)
        async with await envfarm.aio.connect(client.address, token="secret") as connected:
            with pytest.raises(envfarm.RequestError, match="poker"):
                await connected.acquire("poker", slots=1)
            async with await connected.acquire("counter", slots=1) as lease, await lease.session() as session:
                farm.leases.clear()
                farm.drop_after = 0
                session.reset(0, task="task-0")
                with pytest.raises(envfarm.LeaseLost):
                    await session.recv()

    asyncio.run(play())


def test_a_lease_is_renewed(fake_farm: Make) -> None:
    farm, client = fake_farm(ttl_ms=150)

    async def play() -> None:
        async with await envfarm.aio.connect(client.address) as connected, await connected.acquire("counter", slots=1):
            assert await asyncio.to_thread(farm.renewed.wait, 10)

    asyncio.run(play())


def test_a_session_that_ended_or_was_closed_says_so_at_every_call(fake_farm: Make) -> None:
    farm, client = fake_farm()

    async def play() -> None:
        async with await envfarm.aio.connect(client.address) as connected, await connected.acquire("counter", slots=1) as lease:
            session = await lease.session()
            await session.close()
            for call in (session.recv, session.flush, lambda: session.cancel(0)):
                with pytest.raises(envfarm.FarmUnavailable, match="session is closed"):
                    await call()
            with pytest.raises(envfarm.FarmUnavailable, match="session is closed"):
                session.reset(0, task="task-0")
            assert farm.attachments == 1
            async with await lease.session() as session:
                farm.leases.clear()
                farm.drop_after = 0
                session.reset(0, task="task-0")
                for _ in range(3):
                    with pytest.raises(envfarm.LeaseLost):
                        await session.recv()

    asyncio.run(play())


def test_a_cancelled_attach_is_tried_again(fake_farm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm, client = fake_farm()

    async def play() -> None:
        async with (
            await envfarm.aio.connect(client.address) as connected,
            await connected.acquire("counter", slots=1) as lease,
            await lease.session() as session,
        ):
            farm.drop_after = 0
            session.reset(0, task="task-0")
            with monkeypatch.context() as patched:
                patched.setattr(session, "_open", lambda: asyncio.sleep(60))
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(session.recv(), 1)
            (outcome,) = await session.recv()
            assert outcome.transition is not None and outcome.replayed

    asyncio.run(play())
