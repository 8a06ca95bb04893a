"""The envelope: what every bus message looks like on the wire.

A message is a list of byte strings: one JSON envelope, then the binary frames. The envelope of a request:

    {"kind": "request", "id": 7, "from": "topology", "to": "link", "action": "connect", "deadline": 5000, "body": {...}}

`deadline` is how many milliseconds are left. A request with id 0 wants no answer. A `response` or an `error` carries
the id of its request; the body of an `error` is `{"code": ..., "message": ...}`. An `event` carries `topic` and `body`.
The body stays encoded here (`msgspec.Raw`), so that routing a message never parses what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

MAX_BODY: Final = 1 << 20
MAX_ENVELOPE: Final = MAX_BODY + 4096
"""Room for every other field at its longest, so that a body that fits still fits when the broker has written `from`."""
MAX_FRAMES: Final = 16
MAX_FRAME: Final = 128 * 1024
MAX_DEADLINE_MS: Final = 600_000

Kind = Literal["request", "response", "error", "event"]
_Name = Annotated[str, msgspec.Meta(max_length=96)]
_EMPTY: Final = msgspec.Raw(b"{}")
_BLANK: Final = b" \t\r\n"


class EnvelopeError(ValueError):
    """Bytes that are no message of the bus; says why in a few words."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message without its binary frames; see the top of this file."""

    kind: Kind
    id: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] = 0
    sender: _Name = msgspec.field(name="from", default="")
    to: _Name = ""
    action: _Name = ""
    topic: _Name = ""
    deadline: Annotated[int, msgspec.Meta(ge=0, le=MAX_DEADLINE_MS)] = 0
    body: msgspec.Raw = _EMPTY


class Fault(msgspec.Struct, frozen=True):
    """The body of an `error`."""

    code: str
    message: str


_decoder: Final = msgspec.json.Decoder(Envelope)
_fault_decoder: Final = msgspec.json.Decoder(Fault)
_body_decoder: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


def encode(envelope: Envelope, frames: Sequence[bytes] = ()) -> list[bytes]:
    """Raises EnvelopeError when the message is over its caps."""
    _check_sizes(envelope, frames)
    return [_encoder.encode(envelope), *frames]


def decode(parts: Sequence[bytes]) -> tuple[Envelope, Sequence[bytes]]:
    """Envelope and binary frames. Raises EnvelopeError for anything that is not a message."""
    if not parts:
        raise EnvelopeError("a message without an envelope")
    head, frames = parts[0], parts[1:]
    if len(head) > MAX_ENVELOPE:
        raise EnvelopeError(f"an envelope of {len(head)} bytes is over {MAX_ENVELOPE}")
    try:
        envelope = _decoder.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"not an envelope: {error}") from None
    _check_sizes(envelope, frames)
    fault = _incomplete(envelope)
    if fault is not None:
        raise EnvelopeError(fault)
    return envelope, frames


def pack(body: Mapping[str, Any] | None) -> msgspec.Raw:
    """A body as it travels. Raises EnvelopeError when JSON has no word for something in it."""
    if not body:
        return _EMPTY
    try:
        return msgspec.Raw(_encoder.encode(body))
    except (TypeError, ValueError, RecursionError) as error:
        raise EnvelopeError(f"the body is not JSON: {error}") from None


def unpack(envelope: Envelope) -> dict[str, Any]:
    """The body of a message. Raises EnvelopeError when it is not a JSON object."""
    try:
        return _body_decoder.decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"the body is not a JSON object: {error}") from None


def unpack_fault(envelope: Envelope) -> Fault:
    """The body of an `error`; one that makes no sense becomes the fault `failed`."""
    try:
        return _fault_decoder.decode(envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault("failed", "an error without code and message")


def error(request_id: int, code: str, message: str) -> Envelope:
    """The answer to a request that was not done."""
    return Envelope(kind="error", id=request_id, body=pack({"code": code, "message": message}))


def _incomplete(envelope: Envelope) -> str | None:
    if not bytes(envelope.body).lstrip(_BLANK).startswith(b"{"):
        return "the body is not a JSON object"
    match envelope.kind:
        case "request" if not (envelope.to and envelope.action):
            return "a request without `to` or `action`"
        case "event" if not envelope.topic:
            return "an event without `topic`"
        case "response" | "error" if not envelope.id:
            return "an answer without `id`"
    return None


def _check_sizes(envelope: Envelope, frames: Sequence[bytes]) -> None:
    size = len(bytes(envelope.body))
    if size > MAX_BODY:
        raise EnvelopeError(f"a body of {size} bytes is over {MAX_BODY}")
    if len(frames) > MAX_FRAMES:
        raise EnvelopeError(f"{len(frames)} frames are over {MAX_FRAMES}")
    for frame in frames:
        if len(frame) > MAX_FRAME:
            raise EnvelopeError(f"a frame of {len(frame)} bytes is over {MAX_FRAME}")
