"""Gymnasium spaces for what pages and agents say: any Unicode text, and JSON objects."""

from __future__ import annotations

import math
import string
from typing import Any

import gymnasium as gym

_SAMPLED = frozenset(string.printable) - frozenset("\t\n\r\x0b\x0c")


def scaled_pixels(pixels: int, scale: float) -> int:
    """Height or width of a picture taken at a scale. A half is rounded up, as the farm does; Python's `round` goes to even."""
    return math.floor(pixels * scale + 0.5)


class Unicode(gym.spaces.Text):
    """Text of any characters up to a length; samples are short and printable.

    Gymnasium's `Text` wants every allowed character listed, which Unicode is too large for.
    """

    def __init__(self, max_length: int, *, sample_length: int = 64, seed: int | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_SAMPLED, seed=seed)
        self._sample_length = min(sample_length, max_length)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        if mask is None and probability is None:
            mask = (int(self.np_random.integers(self._sample_length + 1)), None)
        return super().sample(mask, probability)

    def __repr__(self) -> str:
        return f"Unicode({self.max_length})"


class Json(gym.Space[dict[str, Any]]):
    """A JSON object of any content."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed=seed)

    def contains(self, x: Any) -> bool:
        return isinstance(x, dict)

    def sample(self, mask: Any = None, probability: Any = None) -> dict[str, Any]:
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Json()"
