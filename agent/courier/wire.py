"""Guard and courier over a Unix socket: frames of a 4-byte length (big endian) and one CBOR array (core/cbor).

guard → courier  ["link", {"host", "port", "fleet", "device"}] first · ["publish", id, topic suffix, payload]
                 · ["enrol", a question for the enrolment server (est.py)] · ["time", by which certificates are judged]
courier → guard  ["hello", 1] first · ["sent", id] · ["received", "ack" or "policy", payload]
                 · ["state", "connected" or "offline", one sentence] · ["enrolled", what came of a question]
                 · ["proven", sha256 of the certificate file with which the broker let us in]
"""

from typing import Any

from agent.core.cbor import decode, encode
from agent.core.errors import BadInput

LIMIT = 320 * 1024  # bytes of the array in one frame
DEPTH = 3  # an array with a map of lists in it
HEAD = 4  # bytes of the length
VERSION = 1
SUFFIXES = ("warning", "state")  # beside up/<purpose>
PURPOSE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
GUARD_FRAMES: dict[str, tuple[type, ...]] = {
    "link": (dict,),
    "publish": (int, str, bytes),
    "enrol": (dict,),
    "time": (int,),
}
COURIER_FRAMES: dict[str, tuple[type, ...]] = {
    "hello": (int,),
    "sent": (int,),
    "received": (str, bytes),
    "state": (str, str),
    "enrolled": (dict,),
    "proven": (bytes,),
}


def frame(*fields: object) -> bytes:
    """Return one frame; BadInput when it would be longer than the other side takes."""
    array = encode(list(fields))
    if len(array) > LIMIT:
        raise BadInput(
            f"a frame of {len(array)} bytes is longer than the {LIMIT} the other side takes; send less at once"
        )
    return len(array).to_bytes(HEAD, "big") + array


class Frames:
    """Turns a stream of bytes back into frames; what is not one of `kinds` is BadInput: close the stream then."""

    def __init__(self, kinds: dict[str, tuple[type, ...]]) -> None:
        self._kinds = kinds
        self._bytes = bytearray()

    def feed(self, received: bytes) -> list[list[Any]]:
        """Take bytes as they come; return the frames they complete."""
        self._bytes += received
        found = []
        while len(self._bytes) >= HEAD:
            length = int.from_bytes(self._bytes[:HEAD], "big")
            if length > LIMIT:
                raise BadInput(f"a frame of {length} bytes was announced, longer than {LIMIT}; close the connection")
            if len(self._bytes) < HEAD + length:
                break
            found.append(self._checked(decode(bytes(self._bytes[HEAD : HEAD + length]), LIMIT, DEPTH)))
            del self._bytes[: HEAD + length]
        return found

    def _checked(self, array: Any) -> list[Any]:
        if type(array) is not list or not array or type(array[0]) is not str or array[0] not in self._kinds:
            raise BadInput("a frame of no known kind arrived; both sides must be of the same version")
        kinds = self._kinds[array[0]]
        if len(array) != len(kinds) + 1 or any(type(v) is not k for v, k in zip(array[1:], kinds, strict=True)):
            raise BadInput(
                f"a {array[0]} frame has other fields than it should; both sides must be of the same version"
            )
        return array


def topic_suffix(text: str) -> str:
    """Return a topic suffix that a device may publish on; BadInput for any other."""
    purpose = text.removeprefix("up/")
    if text in SUFFIXES or (purpose != text and purpose and len(purpose) <= 64 and not set(purpose) - PURPOSE):
        return text
    raise BadInput("a device publishes on up/<purpose>, warning and state only; correct the topic")
