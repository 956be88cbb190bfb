"""What can go wrong between this client and a farm, as exceptions.

A failure of one command is not among them: it arrives as data in its outcome, so that one broken sandbox never stops a
trainer that drives a thousand. Only `CommandFailed` turns such a failure into an exception, in the Gymnasium faces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envfarm.outcome import Failure


class FarmError(Exception):
    """Base of everything that this package raises about a farm."""


class LaunchError(FarmError):
    """The farm's binary is missing, did not start, or ended early. The message carries the tail of its log."""


class AuthError(FarmError):
    """The farm refused the token, or demands one."""


class RequestError(FarmError):
    """The farm refused the content of a call, e.g. an unknown environment or too many slots."""


class LeaseLost(FarmError):
    """The lease expired, was released, or belongs to a farm that has restarted: acquire a new one."""


class SessionReplaced(FarmError):
    """Another session attached to the same lease and took over."""


class FarmUnavailable(FarmError):
    """The farm cannot be reached, or stops, and attaching again did not succeed in time."""


class ObservationError(FarmError):
    """An observation that was asked for could not be taken; others of the same step may have been."""


class CommandFailed(FarmError):
    """A command failed where the caller has no outcome to look at. `failure` says how."""

    def __init__(self, failure: Failure, slot: int) -> None:
        super().__init__(f"slot {slot}: {failure}")
        self.failure = failure
        self.slot = slot
