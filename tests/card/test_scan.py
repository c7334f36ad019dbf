"""What a scan finds in an image: every kind of shared or forgotten secret, deleted ones too; nothing in a clean one."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core import slot
from agent.system import crypt
from provisioning.card.bootfs import Bootfs
from provisioning.card.disk import look
from provisioning.card.freed import inside
from provisioning.card.hashes import known
from provisioning.card.rootfs import FILE, Entry, Rootfs
from provisioning.card.scan import GRAVE, scan
from provisioning.profile.sign import sign
from tests.card import making

PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ" * 3 + b"\n"
FACTORY = crypt.hashed("raspberry", crypt.salt("$5$", bytes(32), 1000))
UNKNOWN = crypt.hashed("a long one that nobody has", crypt.salt("$5$", bytes(32), 1000))
DIRTY = {
    "etc/shadow": f"root:*:1:::::\npi:{FACTORY}:1:::::\nann:{UNKNOWN}:1:::::\nold:!{UNKNOWN}:1:::::\nopen::1:::::\n",
    "etc/ssh/ssh_host_ed25519_key": PEM.decode(),
    "etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA\n",
    "etc/ssl/private/ssl-cert-snakeoil.key": PEM.decode(),
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "var/lib/systemd/random-seed": "x" * 32,
    "etc/NetworkManager/system-connections/home.nmconnection": "[wifi-security]\npsk=a long key of a home\n",
    "home/pi/.ssh/authorized_keys": "ssh-ed25519 AAAA\n",
    "home/pi/.ssh/id_ed25519": PEM.decode(),
    "home/pi/.bash_history": "mysql -psecret\n",
}
LEFT = {"userconf.txt": b"pi:x", "firstrun.sh": b"#!", "ssh": b"", "user-data": b"#cloud-config", "custom.toml": b"a"}


@pytest.fixture(scope="module")
def dirty(memory: Path) -> Path:
    """Make an image with everything wrong, and with two secrets in what belongs to no file any more."""
    folder = memory / "dirty"
    folder.mkdir()
    root = making.tree(folder / "tree")
    for name, text in DIRTY.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seed = slot.whole(slot.SEED, sign(b"x", Ed25519PrivateKey.generate()))
    image = making.image(
        folder / "dirty.img", root, boot_files={**LEFT, "privet.slot": seed, "gone.txt": b"psk=" + b"a1" * 32}
    )
    disk = look(image)
    stray = Entry(path="/gone", kind=FILE, mode=0o600, uid=0, gid=0, mtime=1, content=PEM, target="")
    Rootfs(disk, 1).write([stray])
    subprocess.run(["debugfs", "-w", "-R", "rm /gone", disk.on_ext], check=True, capture_output=True)
    Bootfs(disk, 1)._remove("gone.txt")
    return image


def test_every_kind_of_secret_is_found(dirty):
    """Each planted thing is found once, with its weight; deleted files count, and no more than what was planted."""
    found = scan(look(dirty))
    grave = sorted((one.kind, one.where.removeprefix("boot partition, ")) for one in found if one.weight == GRAVE)
    notes = sorted((one.kind, one.where.removeprefix("boot partition, ")) for one in found if one.weight != GRAVE)
    deleted = [(kind, where) for kind, where in grave if kind == "deleted"]
    assert [one for one in grave if one not in deleted] == sorted([
        ("Wi-Fi", "/etc/NetworkManager/system-connections/home.nmconnection"),
        ("host key", "/etc/ssh/ssh_host_ed25519_key"),
        ("left over", "custom.toml"), ("left over", "firstrun.sh"),
        ("left over", "user-data"), ("left over", "userconf.txt"),
        ("machine id", "/etc/machine-id"),
        ("password", "/etc/shadow, ann"), ("password", "/etc/shadow, open"), ("password", "/etc/shadow, pi"),
        ("private key", "/etc/ssl/private/ssl-cert-snakeoil.key"), ("private key", "/home/pi/.ssh/id_ed25519"),
        ("token", "privet.slot"),
    ])  # fmt: skip
    assert notes == [
        ("history", "/home/pi/.bash_history"), ("left over", "ssh"), ("password", "/etc/shadow, old"),
        ("random seed", "/var/lib/systemd/random-seed"), ("way in", "/home/pi/.ssh/authorized_keys"),
    ]  # fmt: skip
    texts = {one.text for one in found if one.kind == "deleted"}
    assert len(deleted) == 2 and texts == {
        "still holds a private key of a deleted file", "still holds the key of a Wi-Fi network of a deleted file",
    }  # fmt: skip
    whole = dirty.read_bytes()
    for one in found:
        if one.kind == "deleted":
            at = int(one.where.split()[-1])
            assert whole[at:].startswith((b"-----BEGIN", b"psk="))


def test_a_clean_image_has_nothing_and_shows_no_secret(bench, dirty):
    """The maker's clean image gives no finding; and what is said about a dirty one quotes none of its secrets."""
    assert scan(look(bench.base)) == ()
    told = repr(scan(look(dirty)))
    assert not any(word in told for word in ("b3BlbnNz", FACTORY, UNKNOWN, "a long key", "a1a1a1"))


def test_a_name_that_is_no_word_of_debugfs_stops_nothing(bench, place):
    """A home with quotes in its name is named, and the scan goes on; no part of it becomes a command."""
    root = making.tree(place / "tree")
    for name in ("it's", 'a"\nrm "b', "ok"):
        (root / "home" / name / ".ssh").mkdir(parents=True)
        (root / "home" / name / ".ssh/authorized_keys").write_text("ssh-ed25519 AAAA\n")
    found = scan(look(making.image(place / "b.img", root)))
    assert [(one.kind, one.where) for one in found if one.kind == "way in"] == [
        ("way in", "/home/ok/.ssh/authorized_keys")
    ]
    assert len([one for one in found if one.kind == "name"]) >= 1


def test_a_name_that_orders_the_terminal_is_shown_without(bench, place):
    """Whoever made the image gave the names in it: none of them hides what is found."""
    root = making.tree(place / "tree")
    (root / "etc/ssl/private").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/private/\x1b[8mhidden.key").write_text("a key")
    found = scan(look(making.image(place / "b.img", root)))
    assert [one.where for one in found if one.kind == "private key"] == ["/etc/ssl/private/?[8mhidden.key"]


def test_a_factory_password_is_told_from_another():
    """The hash of a password on the agent's own list is recognised, another is not, nor a scheme libcrypt lacks."""
    assert known("pi", FACTORY) and known("admin", crypt.hashed("admin", crypt.salt("$5$", bytes(32), 1000)))
    assert not known("pi", UNKNOWN) and not known("pi", "$99$nothing")


def test_what_only_resembles_a_secret_is_let_by():
    """A header without a key, a hash of another length, a placeholder: none is a finding; their whole forms are."""
    for text in (b"-----BEGIN PRIVATE KEY-----\n...", b"$6$salt$short", b"psk=<key>", b"PRVTSLOT in a manual"):
        assert list(inside(text)) == []
    found = [text for _, text in inside(PEM + FACTORY.encode())]
    assert found == ["a private key", "a password hash"]
