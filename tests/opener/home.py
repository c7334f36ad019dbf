"""The owner's side: a mosquitto of their own as people run one, and a neighbour that listens to it."""

import os
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from provisioning.broker.child import Child, Setup, free_port
from provisioning.collector.open import Place
from provisioning.collector.receive import Reading

AT = 1_790_655_360


def reading(
    value: Decimal | str,
    name: str = "temperature",
    unit: str = "Cel",
    device: str = "r7k2",
    purpose: str = "comfort",
    arrival: int = 1,
    at: int = AT,
) -> Reading:
    """Make one reading."""
    place = Place(device=device, purpose=purpose, boot=3)
    return Reading(arrival=arrival, place=place, seq=2, name=name, unit=unit, value=value, at=at, received=at + 9)


class OwnMosquitto(Child):
    """Debian's mosquitto with a few lines of the owner's own; it keeps what is retained on its disk."""

    program = package = user = "mosquitto"

    def __init__(self, directory: Path, *lines: str, **files: bytes) -> None:
        setup = Setup(fleet="home", address="127.0.0.1", port=free_port(), collectors=(), durable=True)
        conf = [f"listener {setup.port} 127.0.0.1", "log_dest file broker.log", "persistence true",
                "persistence_location ./", "autosave_on_changes true", "autosave_interval 1"]  # fmt: skip
        conf += lines or ("allow_anonymous true",)
        laid = {"mosquitto.conf": "\n".join(conf).encode() + b"\n"}
        super().__init__(directory, setup, laid | {name.replace("_", "."): file for name, file in files.items()})

    def words(self, program: str) -> list[str]:
        """Start it with its configuration."""
        return [program, "-c", "mosquitto.conf"]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.setup.port


def hashed(name: str, password: str, directory: Path) -> bytes:
    """Return a line of a password file, by mosquitto's own tool."""
    path = directory / "passwords"
    path.write_text(f"{name}:{password}\n")
    subprocess.run(("mosquitto_passwd", "-U", os.fspath(path)), check=True, capture_output=True)
    return path.read_bytes()


def holding(folder: Path, marker: str) -> list[str]:
    """Name the files of a folder that hold a marker."""
    return [path.name for path in folder.rglob("*") if path.is_file() and marker.encode() in path.read_bytes()]


class Neighbour:
    """A client of the owner's broker that notes all it gets: (topic, payload, whether it was retained)."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        listening: list[bool] = []
        self._client.on_subscribe = lambda *_: listening.append(True)
        self._client.subscribe("#", qos=1)
        self.wait(lambda: bool(listening))

    def _note(self, _client: Client, _user: Any, message: MQTTMessage) -> None:
        self.got.append((message.topic, bytes(message.payload), bool(message.retain)))

    def wait(self, until: Callable[[], bool], seconds: float = 20) -> None:
        """Listen until something is so."""
        ends = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < ends, self.got
            self._client.loop(0.05)

    def topics(self) -> list[str]:
        """Return the topics in the order of arrival."""
        return [topic for topic, _, _ in self.got]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop(0.05)
