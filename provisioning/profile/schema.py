"""What a device profile may say: strict models of the TOML that people write."""

import re
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic import model_validator as whole

from agent.core.noise import FIGURES
from provisioning.profile.units import COMMON_SLIPS, KNOWN
from provisioning.profile.words import DecimalText, Distance, Duration, FlowWord, KeyName, Name, Size, Text, Value


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
    pseudonym: Duration | None = Field(
        default=None, description='Where recipients hand it on, a device has another name every so long, such as "30d".'
    )
    reason: Text | None = Field(default=None, description="Needed when it widens the same purpose of a parent profile.")


class Noise(Strict):
    """Random noise on all that leaves of a field, so that no single reading can be told from it."""

    epsilon: DecimalText = Field(description='How much one figure may tell of a reading, such as "0.5"; less is safer.')
    least: int = Field(default=1, ge=1, le=10_000, description="A mean is reckoned as of so many readings at least.")

    @field_validator("epsilon")
    @classmethod
    def sensible(cls, epsilon: str) -> str:
        """Accept what hides anything at all."""
        if not 0 < Decimal(epsilon) <= 10:
            raise ValueError('must be more than zero and at most 10, such as "0.5"; correct it')
        return epsilon


NUMBER = ("unit", "precision", "low", "high")
A_NUMBER: dict[str, Any] = {"required": [*NUMBER], "not": {"required": ["cell"]}}
A_PLACE: dict[str, Any] = {
    "required": ["cell"],
    "not": {"anyOf": [{"required": [key]} for key in (*NUMBER, "keep", "noise")]},
}


class TelemetryField(Strict):
    """One thing that may be measured, no more precisely than said here: a number, or a place (`cell`)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [A_PLACE, A_NUMBER]})

    name: Name
    title: Text
    purpose: Name
    cell: Distance | None = Field(
        default=None, description='For a place: the least size of the cell that it is reduced to, such as "5km".'
    )
    unit: str | None = Field(default=None, description="A SenML unit, such as Cel, %RH or hPa.")
    precision: DecimalText | None = Field(
        default=None, description='The smallest step that leaves the device, such as "0.5".'
    )
    low: DecimalText | None = None
    high: DecimalText | None = None
    bucket: Duration = Field(description='Times are rounded down to this, such as "1m".')
    keep: list[Literal["count", "max", "mean", "min"]] = Field(
        default=[], description="The figures of each bucket that leave, such as mean; without it every reading leaves."
    )
    most: int | None = Field(
        default=None, ge=1, le=10_000, description="How many readings of a bucket are taken; what is more is dropped."
    )
    noise: Noise | None = Field(default=None, description="Noise on the count and the mean, or on each reading.")
    reason: Text | None = Field(default=None, description="Needed when it tells more than its parent's.")

    @whole(mode="after")
    def of_one_kind(self) -> "TelemetryField":
        """Accept a number with all that belongs to it, or a place with a cell and nothing of a number."""
        for key in NUMBER:
            given = getattr(self, key) is not None
            if self.cell is None and not given:
                raise ValueError(f'lacks "{key}"; add a line {key} = …, or cell = "5km" if it is a place')
            if self.cell is not None and given:
                raise ValueError(f'is a place, so "{key}" means nothing; remove it')
        if self.cell is not None and (self.keep or self.noise):
            raise ValueError('is a place, so there are no figures of it; remove "keep" and "noise"')
        return self

    @whole(mode="after")
    def noise_with_an_end(self) -> "TelemetryField":
        """Accept noise on figures that have a use under it, or on so many readings."""
        if self.noise is not None and {*self.keep} - {*FIGURES}:
            raise ValueError('has noise, under which min and max say nothing; keep "count" and "mean" alone')
        if self.noise is not None and not self.keep and not self.most:
            raise ValueError("has noise on each reading, which any number of them would wear away; add most = …")
        return self

    def numbers(self) -> tuple[Decimal, Decimal, Decimal]:
        """Return precision, low and high of a number."""
        precision, low, high = (Decimal(text or "0") for text in (self.precision, self.low, self.high))
        return precision, low, high

    @field_validator("unit")
    @classmethod
    def registered(cls, unit: str | None) -> str | None:
        """Accept a unit of the SenML registry."""
        if unit is not None and unit not in KNOWN:
            known = COMMON_SLIPS.get(unit)
            fix = f"use {known}" if known else "see RFC 8428, section 12.1"
            raise ValueError(f"is no SenML unit; {fix}")
        return unit

    @field_validator("precision")
    @classmethod
    def positive(cls, precision: str | None) -> str | None:
        """Accept a step above zero."""
        if precision is not None and Decimal(precision) <= 0:
            raise ValueError("must be more than zero; correct it")
        return precision

    @field_validator("high")
    @classmethod
    def ranged(cls, high: str | None, known: ValidationInfo) -> str | None:
        """Accept a range at least one step wide."""
        low, step = known.data.get("low"), known.data.get("precision")
        if high is not None and low is not None and step is not None and Decimal(high) - Decimal(low) < Decimal(step):
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


class OneBroker(Strict):
    """Where a broker is."""

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


class Broker(OneBroker):
    """Where sealed readings are sent; always TLS with a client certificate."""

    others: list[OneBroker] = Field(default=[], max_length=7)  # tried in their order when it is not reached


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
