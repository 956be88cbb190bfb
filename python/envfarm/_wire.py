"""How this client speaks gRPC, for the blocking and the async side alike: channel options, credentials, status codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from envfarm.errors import AuthError, FarmError, FarmUnavailable, LeaseLost, RequestError, SessionReplaced

# A raw frame of a phone is 10.4 MB and a batch carries many pictures; gRPC's own default is 4 MiB.
_MESSAGE_BYTES = 64 << 20

CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # HTTP/2 windows: without this one large picture stalls on a 64 KiB window.
    ("grpc.http2.lookahead_bytes", 16 << 20),
    ("grpc.http2.write_buffer_size", 8 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Each Farm has a connection of its own, so closing one never touches another.
    ("grpc.use_local_subchannel_pool", 1),
]

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tls:
    """TLS towards the farm. `ca` is a PEM file; without it the system's certificates are trusted.

    `server_name` is the name on the farm's certificate where it differs from the address that is dialled.
    """

    ca: str | Path | None = None
    server_name: str | None = None


def credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(tls.ca).read_bytes() if tls.ca else None)


def options(tls: Tls | None) -> list[tuple[str, int | str]]:
    named: list[tuple[str, int | str]] = list(CHANNEL_OPTIONS)
    if tls is not None and tls.server_name:
        named.append(("grpc.ssl_target_name_override", tls.server_name))
    return named


def metadata(token: str | None) -> Metadata:
    return (("authorization", f"Bearer {token}"),) if token else ()


def tls_of(tls: bool | Tls) -> Tls | None:
    return tls if isinstance(tls, Tls) else Tls() if tls else None


_ERRORS: dict[grpc.StatusCode, type[FarmError]] = {
    grpc.StatusCode.UNAUTHENTICATED: AuthError,
    grpc.StatusCode.PERMISSION_DENIED: AuthError,
    grpc.StatusCode.NOT_FOUND: RequestError,
    grpc.StatusCode.INVALID_ARGUMENT: RequestError,
    grpc.StatusCode.FAILED_PRECONDITION: RequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RequestError,
    grpc.StatusCode.OUT_OF_RANGE: RequestError,
    grpc.StatusCode.UNIMPLEMENTED: RequestError,
    grpc.StatusCode.ABORTED: SessionReplaced,
}


def error(status: grpc.StatusCode, details: str | None, *, of_lease: bool = False) -> FarmError:
    """The exception for a gRPC status. With `of_lease`, what was not found is the lease.

    FarmUnavailable stands for everything that another attempt may cure.
    """
    kind = _ERRORS.get(status, FarmUnavailable)
    if of_lease and status is grpc.StatusCode.NOT_FOUND:
        kind = LeaseLost
    return kind(f"{details or 'no details'} ({status.name.lower()})")
