"""Fixtures: a fake farm for faults, a real one for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fake
import pytest

import envfarm


@pytest.fixture
def fake_farm() -> Iterator[Callable[..., tuple[fake.FakeFarm, envfarm.Farm]]]:
    """Makes fake farms, each with a client connected to it."""
    undo: list[Callable[[], object]] = []

    def make(**options: object) -> tuple[fake.FakeFarm, envfarm.Farm]:
        farm = fake.FakeFarm(**options)  # type: ignore[arg-type]
        server, address = fake.serve(farm)
        undo.append(lambda: server.stop(None).wait())
        client = envfarm.connect(address, token=farm.token)
        undo.append(client.close)
        return farm, client

    yield make
    for step in reversed(undo):
        step()


@pytest.fixture(scope="session")
def farm() -> Iterator[envfarm.Farm]:
    """The real binary with its built-in configuration. Without one the tests fail and say how to build it."""
    with envfarm.launch() as farm:
        yield farm
