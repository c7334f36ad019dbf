"""What applications send, read strictly."""

from agent.core.clock import Clock
from agent.core.errors import BadInput
from agent.core.telemetry import Sample

NEVER = 253402300800  # the year 10000: no calendar writes what is beyond, and no seal holds what is far beyond


def read_samples(request: dict[str, object], clock: Clock) -> list[Sample]:
    """Read {"send": {"name": "21.5", …}} or {"send": [{…}, …]}, with "at" (Unix seconds) beside "send" or in a row."""
    for key in request:
        if key not in ("send", "at"):
            raise BadInput(f"a reading has no key {key[:40]!r}; send {{'send': {{'temperature': '21.5'}}}}")
    body = request.get("send")
    rows = body if isinstance(body, list) else [body]
    samples = []
    for row in rows:
        if not isinstance(row, dict) or not row:
            raise BadInput("there is no reading in it; send {'send': {'temperature': '21.5'}}")
        at = row.get("at", request.get("at", clock.wall))
        if type(at) is not int or not 0 <= at < NEVER:
            raise BadInput("at is a time in whole Unix seconds")
        for name, number in row.items():
            if name != "at":
                if isinstance(number, bool) or not isinstance(number, str | int):
                    raise BadInput(f"{name[:40]!r} is no number; write it like 21.5")
                samples.append(Sample(name=name, number=str(number), at=at))
    if not samples:
        raise BadInput("there is no reading in it; send {'send': {'temperature': '21.5'}}")
    return samples
