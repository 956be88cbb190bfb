"""Lower-case names of protobuf enum values: `FAILURE_CODE_HOST_LOST` is "host_lost" everywhere in this package.

Strings read well in a notebook and in logs, equal the farm's metric labels, and survive a farm newer than this client.
"""

from __future__ import annotations

from typing import Any


def names(enum: Any, prefix: str) -> dict[int, str]:
    """Name by number, with the unspecified value left out."""
    return {number: name for name, number in numbers(enum, prefix).items()}


def numbers(enum: Any, prefix: str) -> dict[str, Any]:
    """Number by name, with the unspecified value left out."""
    return {name.removeprefix(prefix).lower(): number for name, number in enum.items() if number != 0}
