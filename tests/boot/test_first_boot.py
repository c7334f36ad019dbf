"""The first boot under systemd: nothing listens before the gate opens, and no factory password opens it afterwards."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.boot.lab import HERE, Booted, Lab
from tests.boot.shipped import active, answered, login, loose
from tests.house import ROOT

PORTS = [22, 1883]
# Looks from inside: which TCP ports the device listens on, for as long as first boot lasts and after it.
LOOKS = """#!/bin/sh
while :; do
    read -r up rest </proc/uptime
    over=no; [ -e /run/over ] && over=yes
    echo "$over $(ss -Hltn | tr -s ' ' | cut -d' ' -f4 | tr '\\n' ' ')" >>/run/looks
    sleep 0.02
done
"""
LOOKER = """[Unit]
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=privet-early.service
[Service]
ExecStart=/usr/local/sbin/looks
[Install]
WantedBy=sysinit.target
"""
# First boot says that it is over, and the start waits there until the neighbour has stopped knocking.
OVER = "[Service]\nExecStartPost=/bin/sh -c 'touch /run/over; while [ ! -e /run/go ]; do sleep 0.05; done'\n"


class Sampler:
    """Knocks from the neighbour's end while the device starts."""

    def __init__(self, device: Booted) -> None:
        self.process = device.watcher([sys.executable, "-m", "tests.boot.sampler"], folder=ROOT)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"hosts": HERE, "ports": PORTS}).encode() + b"\n")
        self.process.stdin.flush()

    def stop(self) -> tuple[int, dict[str, int]]:
        """Return how many rounds it made and which doors were open how often."""
        out, err = self.process.communicate(b"stop\n", timeout=20)
        said = json.loads(out or b"{}")
        assert said, err.decode()
        return said["rounds"], said["open"]


def looked(device: Booted) -> None:
    """Let the device look at its own sockets from the moment its local file systems are there."""
    device.lay("/usr/local/sbin/looks", LOOKS, 0o755)
    device.lay("/etc/systemd/system/looks.service", LOOKER)
    device.chroot(["systemctl", "--root=/", "enable", "looks.service"])


def disorder(device: Booted) -> None:
    """Take the ordering out of the units, as if they were ordinary services: the known-bad twin."""
    for unit in ("privet-early", "privet-firstboot"):
        text = (device.disk / f"lib/systemd/system/{unit}.service").read_text()
        text = re.sub(r"^(Before|DefaultDependencies)=.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("WantedBy=sysinit.target", "WantedBy=multi-user.target")
        text = text.replace("[Service]", "After=ssh.service mosquitto.service\n[Service]", 1)
        device.chroot(["systemctl", "--root=/", "disable", f"{unit}.service"])
        device.lay(f"/etc/systemd/system/{unit}.service", text)
        device.chroot(["systemctl", "--root=/", "enable", f"{unit}.service"])


def test_nothing_listens_before_the_gate_opens(shipped: Booted):
    """From power on until first boot is over no door is open to the neighbour, and no socket listens inside."""
    looked(shipped)
    shipped.lay("/etc/systemd/system/privet-firstboot.service.d/over.conf", OVER)
    shipped.configure_link()
    sampler = Sampler(shipped)
    shipped.press()
    shipped.until(lambda: shipped.exists("/run/over"), 60, "first boot to be over")
    before, opened = sampler.stop()
    assert before >= 3
    assert opened == {}
    shipped.must(["touch", "/run/go"])
    shipped.up()
    active(shipped)
    lines = shipped.read("/run/looks").splitlines()
    early = [line for line in lines if line.startswith("no")]
    late = [line for line in lines if line.startswith("yes")]
    assert len(early) >= 10
    assert {line.strip() for line in early} == {"no"}
    assert any(":22 " in line for line in late)
    print(f"{before} rounds of knocking and {len(early)} looks inside before the gate opened: nothing")
    after = Sampler(shipped)
    shipped.until(lambda: after.process.poll() is None, 1, "it to knock")
    _, opened = after.stop()
    assert set(opened) <= {f"{host} 22" for host in HERE}, "what the policy declares, and no broker"


@pytest.mark.parametrize("twin", ["without Privet", "without the ordering"])
def test_twin_the_sampler_sees_an_open_door(lab: Lab, shipped_layer: str, twin: str):
    """Without the package, and with units that lack their ordering, the same sampler finds the doors open."""
    layers = () if twin == "without Privet" else ("installed", shipped_layer)
    with lab.device(*layers, name="twin") as device:
        if layers:
            disorder(device)
        device.configure_link()
        sampler = Sampler(device)
        device.start()
        _, opened = sampler.stop()
        print(twin, opened)
        for host in HERE:
            assert any(door.startswith(host) for door in opened)


def test_factory_twin_is_open(factory: Booted, tmp_path: Path):
    """Without Privet the published password opens the device over its cable: the trial is known to work."""
    factory.start()
    assert login(factory, tmp_path) == "let-in"
    assert login(factory, tmp_path, host="fd88::2") == "let-in"


def test_first_boot_makes_it_private(shipped: Booted, tmp_path: Path):
    """After its first start the guard answers, every setting is at its strictest, and raspberry is refused."""
    shipped.start()
    active(shipped)
    assert shipped.exists("/var/lib/privet/provisioned")
    assert shipped.property("privet-firstboot.service", "Result") == "success"
    assert login(shipped, tmp_path) == "refused"
    assert login(shipped, tmp_path, host="fd88::2") == "refused"
    found = answered(shipped)
    assert len(found) >= 14
    assert loose(shipped) == {}
    assert shipped.property("privet-guard.service", "StatusText").startswith("Private: all ")
