"""What a device profile may say: strict models of the TOML that people write."""

import re
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic import model_validator as whole

from provisioning.profile.units import COMMON_SLIPS, KNOWN
from provisioning.profile.words import DecimalText, Duration, FlowWord, KeyName, Name, Size, Text, Value


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

    flow: FlowWord = Field(description='What may pass: protocol/port@peer, such as "tcp/8883@any" or "tcp/22@lan".')
    purpose: Text = Field(description="What this connection is for; the owner reads this.")
    programs: list[Text] = Field(
        default=[], description='Who may wait for it, as net.listeners names programs, such as "sshd". Inbound only.'
    )


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
    keep: list[Literal["count", "max", "mean", "min"]] = Field(
        default=[], description="The figures of each bucket that leave, such as mean; without it every reading leaves."
    )
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
    kind: Literal["collector", "opener"] = Field(
        default="collector",
        description="An opener stands on the owner's own machine and hands readings on there in plain text.",
    )

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


class Recovery(Strict):
    """How the owner's new secrets are handed over at first boot, beside `privet credentials show --once`."""

    recipient: KeyName | None = Field(default=None, description="Whose key in the fleet can open them.")
    console: bool = Field(default=False, description="Show them for a minute on the device's own screen.")


class Without(Strict):
    """What of the parent profile this device leaves out."""

    flows: list[str] = []
    purposes: list[Name] = []
    fields: list[Name] = []
    recipients: list[KeyName] = []


class Profile(Strict):
    """One kind of device, as private as it can be for what it has to do."""

    model: Name = Field(description="The name of this file without .toml; also the device class.")
    title: Text
    inherits: Name | None = Field(default=None, description="The profile this one tightens or, with a reason, loosens.")
    platform: Literal["linux", "pico"] | None = Field(
        default=None, description="What it runs on; linux when nothing is said. A Pico has no settings of Linux."
    )
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
    recovery: Recovery | None = None
    without: Without = Without()
