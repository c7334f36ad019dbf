"""nmap on a device: which ports of another one answer at all, and which are open."""

import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from tests.device.lab import Device

EVERY = "1-65535"
# Raw IP, no names, no pings.
NMAP = ("nmap", "-n", "-Pn", "--send-ip", "-T4", "-oX", "-")
# Where nothing answers nmap would wait long. A port that says nothing is asked once more. A device that is open sends
# more answers than can be read at this pace, so it is scanned at nmap's own.
HURRY = ("--min-rate", "8000", "--max-retries", "1")
POPULAR = 200


@dataclass(frozen=True)
class Seen:
    """What a scan saw: ports that are open, and ports that answered in whatever way."""

    opened: set[int]
    answered: set[int]
    silent: int
    closed: int


class Scan:
    """One scan that runs on a device; `seen()` waits for it. `ports`: all of TCP, or a list, after U: of UDP."""

    def __init__(
        self, device: Device, target: str, ports: str = EVERY, source: str = "", link: str = "", *, hurry: bool = True
    ) -> None:
        argv = [*NMAP, *(HURRY if hurry else ()), *(["-6"] if ":" in target else [])]
        argv += ["-sU" if ports.startswith("U:") else "-sS", "-p", ports]
        argv += ["-S", source, "-e", link] if source else []
        self.child: subprocess.Popen[bytes] = device.spawn([*argv, target])
        self.asked = 65535 if ports == EVERY else ports.count(",") + 1

    def seen(self) -> Seen:
        """Return what was seen; a scan that did not end well is an error."""
        out, err = self.child.communicate(timeout=180)
        assert self.child.returncode == 0, err.decode()
        found: dict[int, str] = {}
        rest: dict[str, int] = {}
        for port in ET.fromstring(out).iter("port"):
            state = port.find("state")
            assert state is not None
            found[int(port.attrib["portid"])] = state.attrib["state"]
        for extra in ET.fromstring(out).iter("extraports"):
            rest[extra.attrib["state"]] = int(extra.attrib["count"])
        assert len(found) + sum(rest.values()) == self.asked, (found, rest)
        quiet = {port for port, state in found.items() if "filtered" in state}
        return Seen(
            opened={port for port, state in found.items() if state == "open"},
            answered=set(found) - quiet,
            silent=len(quiet) + sum(count for state, count in rest.items() if "filtered" in state),
            closed=rest.get("closed", 0),
        )


def popular(device: Device, kind: str, *more: int) -> str:
    """Return the ports (kind tcp or udp) that are most often open anywhere, by nmap's own count, and some more."""
    rows = [line.split() for line in device.read("/usr/share/nmap/nmap-services").splitlines() if line[:1] != "#"]
    found = [(float(row[2]), int(row[1].partition("/")[0])) for row in rows if len(row) > 2 and row[1].endswith(kind)]
    ports = sorted({port for _, port in sorted(found, reverse=True)[:POPULAR]} | set(more))
    return ("U:" if kind == "udp" else "") + ",".join(map(str, ports))


def listening(device: Device, kind: str) -> set[int]:
    """Return the ports on which something listens beyond loopback, by the device's own word; kind is t or u."""
    found = set()
    for row in device.must(["ss", f"-Hln{kind}p"]).splitlines():
        address, _, port = row.split()[3].rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            found.add(int(port))
    return found
