"""Python client of envfarm, a farm of GUI environments for online reinforcement learning.

    with envfarm.launch() as farm:
        with farm.acquire("miniwob", slots=16) as lease, lease.session(observations=["axtree_txt"]) as session:
            session.reset(0, task="click-test-2", seed=7)
            for outcome in session.recv():
                print(outcome.transition.obs["axtree_txt"])

`make_vec` wraps this as a Gymnasium vector environment, `envfarm.browsergym.make` as BrowserGym's single environment, and
`envfarm.aio` has the same verbs for asyncio.
"""

from envfarm import browsergym
from envfarm._proto import envfarm_pb2 as pb
from envfarm._wire import Tls
from envfarm.errors import (
    AuthError,
    CommandFailed,
    FarmError,
    FarmUnavailable,
    LaunchError,
    LeaseLost,
    ObservationError,
    RequestError,
    SessionReplaced,
)
from envfarm.farm import Farm, Lease, connect
from envfarm.launch import launch
from envfarm.outcome import ActionResult, Failure, Outcome, ResetReport, Snapshot, Timing, Transition
from envfarm.session import Session
from envfarm.vector import FarmVectorEnv, make_vec

Action = pb.Action

__all__ = [
    "Action",
    "ActionResult",
    "AuthError",
    "CommandFailed",
    "Failure",
    "Farm",
    "FarmError",
    "FarmUnavailable",
    "FarmVectorEnv",
    "LaunchError",
    "Lease",
    "LeaseLost",
    "ObservationError",
    "Outcome",
    "RequestError",
    "ResetReport",
    "Session",
    "SessionReplaced",
    "Snapshot",
    "Timing",
    "Tls",
    "Transition",
    "browsergym",
    "connect",
    "launch",
    "make_vec",
    "pb",
]
