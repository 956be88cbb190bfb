"""The mini syntax by which a trainer asks for observations, and the lazy view by which it reads them.

    kind[:encoding][@scale][~quality]

    "axtree_txt"               the kind in its default encoding
    "screenshot:jpeg"          png, jpeg or webp
    "screenshot:jpeg@0.5~70"   half size (pixels per CSS pixel, 0.05 to 4), JPEG or WebP quality 70 (1 to 100)

Kinds are those of the API in lower case: screenshot, screenshot_som, browsergym, axtree_txt, webarena_txt, html, url,
title, tabs, focused_element, last_action_error, goal.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image

from envfarm._names import names, numbers
from envfarm._proto import envfarm_pb2 as pb
from envfarm.errors import ObservationError

KIND_NAMES = names(pb.ObservationKind, "OBSERVATION_KIND_")
_KINDS = numbers(pb.ObservationKind, "OBSERVATION_KIND_")
_ENCODINGS = numbers(pb.Encoding, "ENCODING_")
_SPEC = re.compile(r"([a-z_]+)(?::([a-z]+))?(?:@(\d*\.?\d+))?(?:~(\d+))?")

PICTURES = frozenset({"screenshot", "screenshot_som"})
JSON_KINDS = frozenset({"browsergym", "tabs"})


def parse_spec(text: str) -> pb.ObservationSpec:
    """One observation in the mini syntax. Raises ValueError that names the part that is wrong."""
    match = _SPEC.fullmatch(text)
    if match is None:
        raise ValueError(f"observation {text!r} is not of the form kind[:encoding][@scale][~quality]")
    kind, encoding, scale, quality = match.groups()
    if kind not in _KINDS:
        raise ValueError(f"observation {text!r}: unknown kind {kind!r}; there are {', '.join(_KINDS)}")
    if encoding is not None and encoding not in _ENCODINGS:
        raise ValueError(f"observation {text!r}: unknown encoding {encoding!r}; there are {', '.join(_ENCODINGS)}")
    if kind not in PICTURES and (scale or quality):
        raise ValueError(f"observation {text!r}: only pictures have a scale or a quality")
    return pb.ObservationSpec(
        kind=_KINDS[kind],
        encoding=_ENCODINGS[encoding] if encoding else pb.ENCODING_UNSPECIFIED,
        scale=float(scale) if scale else 0.0,
        quality=int(quality) if quality else 0,
    )


def parse_specs(texts: Iterable[str]) -> pb.ObservationSet:
    """Several observations, each kind at most once."""
    if isinstance(texts, str):
        raise ValueError("observations must be a list of strings, not one string")
    specs = [parse_spec(text) for text in texts]
    kinds = [spec.kind for spec in specs]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"observation kind {KIND_NAMES[kind]!r} is asked for twice")
    return pb.ObservationSet(specs=specs)


class Observations(Mapping[str, Any]):
    """Observations of one step by kind, decoded when first read.

    Pictures become uint8 arrays of shape (height, width, 3), JSON becomes Python objects, the rest `str`. Reading one
    that could not be taken raises ObservationError; `error` tells without raising.
    """

    __slots__ = ("_by_kind", "_decoded")

    def __init__(self, observations: Iterable[pb.Observation]) -> None:
        self._by_kind = {KIND_NAMES.get(item.kind, str(item.kind)): item for item in observations}
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, kind: str) -> Any:
        if kind not in self._decoded:
            item = self._by_kind[kind]
            if item.error:
                raise ObservationError(f"{kind}: {item.error}")
            self._decoded[kind] = _decode(item)
        return self._decoded[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_kind)

    def __len__(self) -> int:
        return len(self._by_kind)

    def __repr__(self) -> str:
        parts = (f"{kind}: {item.error or f'{len(item.data)} bytes'}" for kind, item in self._by_kind.items())
        return f"Observations({', '.join(parts)})"

    def raw(self, kind: str) -> bytes:
        """The encoded bytes as they came, e.g. a JPEG file; empty if the observation could not be taken."""
        return self._by_kind[kind].data

    def error(self, kind: str) -> str | None:
        """Why this observation could not be taken."""
        return self._by_kind[kind].error or None

    def content_hash(self, kind: str) -> int:
        """XXH3-64 of the bytes."""
        return self._by_kind[kind].content_hash

    def captured_at(self, kind: str) -> float:
        """Seconds since the Unix epoch, by the farm's clock."""
        return self._by_kind[kind].captured_unix_us / 1e6


def _decode(item: pb.Observation) -> Any:
    if item.encoding == pb.ENCODING_JSON:
        return json.loads(item.data)
    if item.encoding in (pb.ENCODING_PNG, pb.ENCODING_JPEG, pb.ENCODING_WEBP):
        with PIL.Image.open(io.BytesIO(item.data)) as picture:
            return np.asarray(picture.convert("RGB"))
    return item.data.decode()
