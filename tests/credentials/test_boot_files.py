"""Leftovers on the boot partition: which go, which wait for whom, and that nothing secret of them stays on the disk."""

import pytest

from agent.core.credential import NEW, OLD, OTHER, Memory
from agent.core.errors import Failed
from agent.credentials import boot_files
from agent.credentials.boot_files import raw
from agent.credentials.boot_files.leftovers import blanked, brings_factory, needles, values, without_run
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import mount
from agent.system.simulated.volume import attach
from tests.credentials.images import hashed

PLACE, RAW = "/boot/firmware", "/dev/mmcblk0p1"
PSK = b"5d2f0e1c4b3a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
OWN = hashed("the owner's own", "sha256").encode()
KNOWN = hashed("raspberry", "sha256").encode()
RUN = b" systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"
LINE = b"console=tty1 root=PARTUUID=1234-02 rootwait"
USERCONF = b"pi:" + OWN + b"\n"
FIRSTRUN = (
    b"#!/bin/bash\nset +e\n/usr/lib/userconf-pi/userconf 'pi' '%s'\nimager_custom set_wlan 'Home' '%s' 'GB'\n"
    % (
        OWN,
        PSK,
    )
)
CUSTOM = b'[user]\nname = "pi"\npassword = "%s"\npassword_encrypted = true\n[wlan]\npassword = "hunter2 at home"\n'
SUPPLICANT = b'country=GB\nnetwork={\n  ssid="Home"\n  psk="a long pass phrase"\n}\n'
CLOUD = b"#cloud-config\nusers:\n- name: pi\n  passwd: %s\nwifi_token: 0123456789abcdef\n" % OWN
META = b"instance-id: rpi-imager-17\n"
UNITS = "/usr/lib/systemd/system/"


def card(files, elsewhere=(), line=LINE):
    """Make a device with these files on its boot partition, and others elsewhere."""

    def lay(device):
        device.programs["mount"] = mount
        attach(device, PLACE)
        device.edit(f"{PLACE}/cmdline.txt", line + b"\n", in_place=True)
        device.edit(f"{PLACE}/config.txt", b"arm_64bit=1\ncountry=GB\n", in_place=True)
        for name, content in files.items():
            device.edit(f"{PLACE}/{name}", content, in_place=True)
        for path, content in dict(elsewhere).items():
            device.edit(path, content)

    return SimulatedSystem(image=lay, shipped=False)


def found(device, first=True):
    """Return what is found, or None."""
    listed = boot_files.find(device, {}, Memory(set(), set(), first))
    return listed[0] if listed else None


def gone(device, one):
    """Take it through: put away, proven, cleaned; power goes at the end."""
    boot_files.replace(device, {}, one, None)
    boot_files.prove(device, {}, one, None)
    boot_files.clean(device, {}, one)
    device.crash("all")


def on_disk(device, *wanted):
    """Return which of these bytes the raw partition holds."""
    return set(device.search(RAW, wanted))


def left(device):
    """Return the names on the partition."""
    return set(device.entries(PLACE)) - {"cmdline.txt", "config.txt"}


def test_every_leftover_goes_and_nothing_secret_stays():
    """With nothing to wait for them all files go; hashes, keys and pass phrases are on no part of the raw partition."""
    files = {
        "userconf.txt": USERCONF, "failed_userconf": USERCONF, "firstrun.sh": FIRSTRUN, "custom.toml": CUSTOM % OWN,
        "wpa_supplicant.conf": SUPPLICANT, "user-data": CLOUD, "meta-data": META, "network-config": SUPPLICANT,
        "rpi-preseed.toml": CUSTOM % OWN, "ssh": b"",
    }  # fmt: skip
    secret = (OWN, PSK, b"hunter2 at home", b"a long pass phrase", b"0123456789abcdef")
    device = card(files)
    assert on_disk(device, *secret) == set(secret)
    one = found(device)
    assert one.label == PLACE and "userconf.txt" in one.reason and not one.owner
    assert OWN.decode() not in repr(one) and PSK.decode() not in repr(one)
    assert boot_files.standing(device, {}, one, None) == OLD
    gone(device, one)
    assert boot_files.standing(device, {}, one, None) == NEW and found(device) is None
    assert left(device) == set() and on_disk(device, *secret) == set()


def test_only_removed_is_found_on_the_raw_disk():
    """The twin: files that are removed, not shredded, look gone; the search of the raw disk finds what they held."""
    device = card({"userconf.txt": USERCONF})
    one = found(device)
    device.remove(f"{PLACE}/userconf.txt")
    assert boot_files.standing(device, {}, one, None) == NEW
    assert raw.held(device, RAW, [OWN]) == (OWN,)
    boot_files.prove(device, {}, one, None)  # writes over the free clusters
    assert raw.held(device, RAW, [OWN]) == () and left(device) == set()


def test_a_copy_that_another_program_left():
    """An editor left earlier versions in free clusters: they go too, and the zeros are taken away again."""
    device = card({"userconf.txt": USERCONF * 9})
    for content in (USERCONF * 9 + b"#", b"again " + USERCONF):
        device.edit(f"{PLACE}/userconf.txt", content)
    device.disk.settle()
    one = found(device)
    boot_files.replace(device, {}, one, None)
    assert on_disk(device, OWN)
    boot_files.prove(device, {}, one, None)
    assert not on_disk(device, OWN) and left(device) == set()


def test_a_secret_in_a_file_of_somebody_else():
    """The same hash in a file that is none of a setup's: it stays, is named, and the first boot does not pass."""
    device = card({"userconf.txt": USERCONF, "notes.txt": b"remember " + OWN})
    one = found(device)
    boot_files.replace(device, {}, one, None)
    with pytest.raises(Failed, match=r"still in /boot/firmware/notes\.txt; remove it"):
        boot_files.prove(device, {}, one, None)


def test_a_disk_that_cannot_be_read_is_never_clean():
    """The raw device is missing: not known, said so; without a FAT partition there is nothing of this kind."""
    device = card({"userconf.txt": USERCONF})
    one = found(device)
    boot_files.replace(device, {}, one, None)
    device.hand.discard(RAW)
    with pytest.raises(Failed, match="is clean is not known"):
        boot_files.prove(device, {}, one, None)
    plain = SimulatedSystem(image=lambda it: it.edit(f"{PLACE}/userconf.txt", USERCONF), shipped=False)
    assert found(plain) is None


@pytest.mark.parametrize(
    ("name", "content", "waits"),
    [
        ("ssh", b"", {UNITS + "sshswitch.service": b""}),
        ("userconf.txt", USERCONF, {UNITS + "userconfig.service": b""}),
        ("wpa_supplicant.conf", SUPPLICANT, {UNITS + "raspberrypi-net-mods.service": b""}),
        ("rpi-preseed.toml", CUSTOM % OWN, {"/usr/bin/rpi-preseed": b""}),
        ("user-data", CLOUD, {"/usr/bin/cloud-init": b""}),
        ("network-config", SUPPLICANT, {"/usr/bin/cloud-init": b""}),
        ("meta-data", META, {"/usr/bin/cloud-init": b""}),
    ],
)
def test_what_is_still_to_be_taken_up_stays(name, content, waits):
    """It may be the owner's way in: a file stays while its reader is installed and has not read it."""
    assert found(card({name: content}, waits)) is None
    assert found(card({name: content})) is not None


def test_a_factory_password_waits_for_nobody():
    """A file with raspberry, as hash or in the clear, would bring the factory password back later in this boot."""
    waits = {UNITS + "userconfig.service": b"", "/usr/bin/cloud-init": b""}
    device = card({"userconf": b"pi:" + KNOWN + b"\n", "user-data": b"#cloud-config\npassword: raspberry\n"}, waits)
    one = found(device)
    assert one.reason.endswith("user-data, userconf on it")
    gone(device, one)
    assert not on_disk(device, KNOWN, b"password: raspberry")
    assert left(device) == {"user-data"}
    assert not brings_factory(USERCONF)


def test_firstrun_and_the_command_line():
    """A script that the next start would run waits; when it must go, what would run it is blanked first."""
    device = card({"firstrun.sh": FIRSTRUN}, line=LINE + RUN)
    assert found(device) is None
    bad = FIRSTRUN.replace(OWN, KNOWN)
    device = card({"firstrun.sh": bad}, line=LINE + RUN)
    before = device.stat(f"{PLACE}/cmdline.txt")
    one = found(device)
    gone(device, one)
    after = device.stat(f"{PLACE}/cmdline.txt")
    assert (after.size, after.inode) == (before.size, before.inode)
    assert device.read(f"{PLACE}/cmdline.txt").split() == LINE.split() and left(device) == set()
    assert without_run(LINE + RUN + b" quiet") == LINE + b" " * len(RUN) + b" quiet"
    assert without_run(LINE + b" systemd.unit=rescue.target") == LINE + b" systemd.unit=rescue.target"


def test_cloud_init_finds_its_instance_again():
    """Once the instance is finished, user-data is blanked (cloud-init needs the file) and meta-data stays."""
    done = {"/usr/bin/cloud-init": b"", "/var/lib/cloud/data/instance-id": b"rpi-imager-17\n",
            "/var/lib/cloud/instance/boot-finished": b"1\n",
            "/var/lib/cloud/instances/rpi-imager-17/user-data.txt": CLOUD,
            "/var/lib/cloud/instances/rpi-imager-17/obj.pkl": b"\x80\x04" + CLOUD,
            "/var/lib/cloud/instances/rpi-imager-17/cloud-config.txt": b"nothing secret"}  # fmt: skip
    device = card({"user-data": CLOUD, "meta-data": META, "network-config": SUPPLICANT}, done)
    before = device.stat(f"{PLACE}/user-data")
    gone(device, found(device))
    after = device.read(f"{PLACE}/user-data")
    assert left(device) == {"user-data", "meta-data"} and device.read(f"{PLACE}/meta-data") == META
    assert after == blanked(len(CLOUD)) and after.startswith(b"#cloud-config\n")
    assert device.stat(f"{PLACE}/user-data").inode == before.inode
    assert device.entries("/var/lib/cloud/instances/rpi-imager-17") == ("cloud-config.txt",)
    assert found(device) is None
    other = card({"user-data": CLOUD, "meta-data": b"instance-id: new\n"}, done)
    assert found(other) is None  # another instance is still to come


def test_another_file_in_the_meantime():
    """Somebody laid other files there between two starts: not taken for what was found."""
    device = card({"userconf.txt": USERCONF})
    one = found(device)
    device.edit(f"{PLACE}/userconf.txt", b"eva:" + hashed("else", "sha256").encode())
    assert boot_files.standing(device, {}, one, None) == OTHER
    device.edit(f"{PLACE}/userconf.txt", bytes(9) + USERCONF[9:])  # a cut in the middle of our own
    assert boot_files.standing(device, {}, one, None) == OLD


def test_what_is_secret_in_a_file():
    """Hashes, keys, tokens, words of known commands; a short one is sought with its line, plain words are not."""
    assert values(USERCONF) >= {OWN}
    assert values(FIRSTRUN) >= {OWN, PSK}
    assert b"hunter2 at home" in values(CUSTOM % OWN) and b"true" not in values(CUSTOM % OWN)
    assert values(b"chpasswd:\n  list: |\n    pi:secret9\n") == {b"secret9"}
    assert needles(b'password = "raspberry"\n') == {b'password = "raspberry"'}
    assert values(b'token = "<redacted by rpi-preseed>"\n') == set()
    assert needles(LINE) == set() or all(len(one) >= 12 for one in needles(LINE))
