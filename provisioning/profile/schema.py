"""What a device profile may say: strict models of the TOML that people write.

Every message raised here is half a sentence that says what is wrong and what to write instead; `source.py` puts the
file and the line in front.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic import model_validator as whole

from provisioning.profile.units import COMMON_SLIPS, KNOWN

type_of_value = str | int | list[str]
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


Text = Annotated[str, AfterValidator(plain_text)]
Name = Annotated[str, AfterValidator(plain_name)]
KeyName = Annotated[str, AfterValidator(key_name)]
DecimalText = Annotated[str, AfterValidator(decimal_text)]
Duration = Annotated[str, AfterValidator(duration)]
Size = Annotated[str, AfterValidator(size)]
Value = Annotated[type_of_value, BeforeValidator(setting_value)]


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Choice(Strict):
    """The value a profile wants for one setting; looser than what it inherits needs a reason."""

    value: Value = Field(description="A word, a whole number or a list of words.")
    reason: Text | None = Field(default=None, description="Why this device needs it looser; its owner reads this.")

    @whole(mode="before")
    @classmethod
    def short_form(cls, given: Any) -> Any:
        """Read `"ssh.password" = "no"` as `{ value = "no" }`."""
        return given if type(given) is dict else {"value": given}


class Flow(Strict):
    """One connection the firewall lets through, and what it is for."""

    flow: Text = Field(description='What may pass, in the words of the firewall settings, such as "tcp:8883".')
    purpose: Text = Field(description="What this connection is for; the owner reads this.")


class Flows(Strict):
    """Every connection this device needs; all others are closed."""

    inbound: list[Flow] = []
    outbound: list[Flow] = []


class Purpose(Strict):
    """Why something is collected. Nothing is collected for it until the owner agrees."""

    id: Name
    title: Text
    text: Text = Field(description="What it is good for, in a sentence the owner understands.")
    basis: Literal["consent"] = Field(default="consent", description="The legal basis.")
    recipients: list[KeyName] = Field(min_length=1, description="Ids of those who can read it.")
    retention_days: int = Field(ge=1, le=3650, description="How long they keep it, in days.")
    reason: Text | None = Field(default=None, description="Needed when it widens the same purpose of a parent profile.")


class TelemetryField(Strict):
    """One thing that may be measured, no more precisely than said here."""

    name: Name
    title: Text
    unit: str = Field(description="A SenML unit, such as Cel, %RH or hPa.")
    purpose: Name
    precision: DecimalText = Field(description='The smallest step that leaves the device, such as "0.5".')
    low: DecimalText
    high: DecimalText
    bucket: Duration = Field(description='Times are rounded down to this, such as "1m".')
    reason: Text | None = Field(default=None, description="Needed when it tells more than its parent's.")

    @field_validator("unit")
    @classmethod
    def registered(cls, unit: str) -> str:
        """Accept a unit of the SenML registry."""
        if unit not in KNOWN:
            known = COMMON_SLIPS.get(unit)
            fix = f"use {known}" if known else "see RFC 8428, section 12.1"
            raise ValueError(f"is no SenML unit; {fix}")
        return unit

    @field_validator("precision")
    @classmethod
    def positive(cls, precision: str) -> str:
        """Accept a step above zero."""
        if Decimal(precision) <= 0:
            raise ValueError("must be more than zero; correct it")
        return precision

    @field_validator("high")
    @classmethod
    def ranged(cls, high: str, known: ValidationInfo) -> str:
        """Accept a range at least one step wide."""
        low, step = known.data.get("low"), known.data.get("precision")
        if low is not None and step is not None and Decimal(high) - Decimal(low) < Decimal(step):
            raise ValueError("must lie at least one precision step above low; correct it")
        return high


class Recipient(Strict):
    """Somebody who can open what is sealed to them."""

    id: KeyName = Field(description="Also the name of its key in the fleet: privet-fleet recipient add <id>.")
    name: Text
    country: str = Field(description="Two letters, ISO 3166.", json_schema_extra={"pattern": "^[A-Z]{2}$"})

    @field_validator("country")
    @classmethod
    def two_letters(cls, country: str) -> str:
        """Accept a country code."""
        if not re.fullmatch(r"[A-Z]{2}", country):
            raise ValueError('must be a country code of two capital letters, such as "DE"; correct it')
        return country


class Credential(Strict):
    """One factory secret that first boot replaces."""

    kind: Name
    params: dict[str, Value] = {}


class Broker(Strict):
    """Where sealed readings are sent; always TLS with a client certificate."""

    host: str
    port: int = Field(default=8883, ge=1, le=65535)

    @field_validator("host")
    @classmethod
    def plain_host(cls, host: str) -> str:
        """Accept a host name or an address, without scheme or port."""
        pattern = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F]*:[0-9a-fA-F:.]+"
        if len(host) > 253 or not re.fullmatch(pattern, host):
            raise ValueError('must be a bare host name or address, such as "broker.example"; correct it')
        return host


class Queue(Strict):
    """How much unsent telemetry the device keeps."""

    size: Size


class Without(Strict):
    """What of the parent profile this device leaves out."""

    flows: list[str] = []
    purposes: list[Name] = []
    fields: list[Name] = []


class Profile(Strict):
    """One kind of device, as private as it can be for what it has to do."""

    model: Name = Field(description="The name of this file without .toml; also the device class.")
    title: Text
    inherits: Name | None = Field(default=None, description="The profile this one tightens or, with a reason, loosens.")
    support_until: date | None = Field(default=None, description="Until when security updates are promised.")
    settings: dict[str, Choice] = {}
    ceilings: dict[str, Value] = Field(default={}, description="How loose an inheriting profile may ever get.")
    flows: Flows = Flows()
    purpose: list[Purpose] = []
    field: list[TelemetryField] = []
    recipient: list[Recipient] = []
    credential: list[Credential] = []
    channels: list[Name] = Field(default=[], description="How warnings reach the owner.")
    broker: Broker | None = None
    queue: Queue | None = None
    without: Without = Without()
