"""The forms of single values in a profile: names, texts, numbers, times, sizes, flows.

Every message raised here is half a sentence that says what is wrong and what to write instead; `source.py` puts the
file and the line in front.
"""

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from agent.core.cell import LARGEST, SMALLEST

type_of_value = str | int | list[str]
PROTOCOLS = ("tcp", "udp", "icmp", "any")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
LONGEST_TEXT = 400


def plain_text(value: str) -> str:
    """Accept one visible line of text."""
    if not value.strip() or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"must be one line of 1 to {LONGEST_TEXT} visible letters; rewrite it")
    return value.strip()


def plain_name(value: str) -> str:
    """Accept a name that is safe in a topic, a path and a command."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value):
        raise ValueError("must start with a letter and hold only a-z, 0-9 and _, at most 32; rename it")
    return value


def key_name(value: str) -> str:
    """Accept a name that is also safe in a certificate."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", value):
        raise ValueError("must hold only a-z, 0-9 and -, at most 63, with no - at the ends; rename it")
    return value


def decimal_text(value: str) -> str:
    """Accept a plain decimal number written as text."""
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", value):
        raise ValueError('must be a plain decimal number with at most 6 decimals, such as "21.5"; correct it')
    return value


def duration(value: str) -> str:
    """Accept a whole number of seconds, minutes, hours or days."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", value)
    if not found or seconds(value) > 31 * SECONDS["d"]:
        raise ValueError('must be a time of at most 31 days such as "30s", "1m", "2h" or "1d"; correct it')
    return value


def seconds(value: str) -> int:
    """Turn a checked duration into seconds."""
    return int(value[:-1]) * SECONDS[value[-1]]


def size(value: str) -> str:
    """Accept a size in binary units."""
    found = re.fullmatch(r"([1-9][0-9]{0,3}) ?(KiB|MiB|GiB)", value)
    if not found or not 1 << 20 <= size_bytes(value) <= 1 << 36:
        raise ValueError('must be a size between "1 MiB" and "64 GiB"; correct it')
    return value


def size_bytes(value: str) -> int:
    """Turn a checked size into bytes."""
    return int(value[:-3]) * BYTES[value[-3:]]


def distance(value: str) -> str:
    """Accept a whole number of metres or kilometres."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})(m|km)", value)
    if not found or not SMALLEST <= metres(value) <= LARGEST:
        raise ValueError('must be a size between "100m" and "1000km", such as "5km"; correct it')
    return value


def metres(value: str) -> int:
    """Turn a checked distance into metres."""
    return int(value[:-2]) * 1000 if value.endswith("km") else int(value[:-1])


def setting_value(value: Any) -> Any:
    """Accept a word, a whole number or a list of words; say what to write instead of anything else."""
    if type(value) is bool:
        raise ValueError(f'must be a word; write "{"yes" if value else "no"}" in quotes')
    if type(value) is str:
        return plain_text(value)
    if type(value) is int and abs(value) < 1 << 53:
        return value
    if type(value) is list and all(type(word) is str and word.strip() for word in value):
        return sorted({plain_text(word) for word in value})
    raise ValueError("must be a word in quotes, a whole number or a list of words; correct it")


def flow_word(value: str) -> str:
    """Accept a flow as the firewall settings write it: protocol/port@peer."""
    protocol, slash, rest = value.partition("/")
    port, at, peer = rest.partition("@")
    ports = {"icmp": {"any", "echo"}, "any": {"any"}}.get(protocol)
    ends = [int(end) for end in port.split("-")] if re.fullmatch(r"[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?", port) else []
    numbered = bool(ends) and ends == sorted(set(ends)) and ends[-1] < 1 << 16
    if not (slash and at and protocol in PROTOCOLS and (port in ports if ports else port == "any" or numbered)):
        raise ValueError('must be protocol/port@peer, such as "tcp/22@lan" or "udp/5000-5010@any"; correct it')
    if peer not in {"any", "lan", "loopback"}:
        try:
            peer_block = str(ipaddress.ip_network(peer))
        except ValueError:
            raise ValueError("must end with @any, @lan, @loopback or an address block; correct it") from None
        if peer_block != peer:
            raise ValueError(f"names an address block in another way than {peer_block}; write it so")
    return value


def formed(pattern: str, **more: int) -> Any:
    """Tell an editor the form, too; what it cannot say as a pattern is found by `profile check`."""
    return Field(json_schema_extra={"pattern": pattern, **more})


NUMBERED = r"(any|[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?)"
FLOW = rf"^((tcp|udp)/{NUMBERED}|icmp/(any|echo)|any/any)@(any|lan|loopback|[0-9a-fA-F.:]+(/[0-9]{{1,3}})?)$"
Text = Annotated[str, AfterValidator(plain_text), formed(r"\S", maxLength=LONGEST_TEXT)]
Name = Annotated[str, AfterValidator(plain_name), formed(r"^[a-z][a-z0-9_]{0,31}$")]
FlowWord = Annotated[str, AfterValidator(flow_word), formed(FLOW)]
KeyName = Annotated[str, AfterValidator(key_name), formed(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
DecimalText = Annotated[str, AfterValidator(decimal_text), formed(r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$")]
Duration = Annotated[str, AfterValidator(duration), formed(r"^[1-9][0-9]{0,5}[smhd]$")]
Distance = Annotated[str, AfterValidator(distance), formed(r"^[1-9][0-9]{0,3}k?m$")]
Size = Annotated[str, AfterValidator(size), formed(r"^[1-9][0-9]{0,3} ?(KiB|MiB|GiB)$")]
Value = Annotated[type_of_value, BeforeValidator(setting_value)]
