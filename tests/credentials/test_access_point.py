"""The access_point kind: which networks are found in files of hostapd and NetworkManager, and what changes in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.credential import OTHER
from agent.core.errors import Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, SHIPPED
from agent.credentials import access_point as kind
from agent.system.parts import Credential
from agent.system.simulated.programs import hostapd, nmcli
from tests.credentials.products import CONNECTION, HOSTAPD, HOTSPOT, JOINED, PRODUCTS, at_connection, at_hostapd, fresh

WORD = "bcdef ghjkn prstu vxbcd"
GIVEN = Secret(WORD.encode())
# What wpa_passphrase of wpa_supplicant 2.10 makes of "raspberry" for the network "test".
KEY = "34376f6ad10049a318d899cf059e9d4889439457dab9124721e86697a3239b5b"
TWO = b"""interface=wlan0
ssid=one
wpa_psk=%s
wpa_passphrase=raspberry
bss=wlan0_0
ssid2="two"
sae_password=12345678|id=all
sae_password=other|mac=02:00:00:00:00:01
""" % KEY.encode()
OF_HOSTAPD = (
    *(
        b"ssid=one",
        b'ssid2="two"',
        b"bss=w1",
        b"wpa_passphrase=raspberry",
        b"wpa_passphrase=",
        b"wpa_psk=" + KEY.encode(),
    ),
    *(b"sae_password=word|id=x", b"#wpa_passphrase=no", b" wpa_passphrase=no", b"junk", b"=", b"", b"\xff=\xff"),
)
OF_CONNECTIONS = (
    *(b"[wifi]", b"[wifi-security]", b" [802-11-wireless-security] ", b"[vpn]", b"[connection]", b"mode=ap", b"uuid=1"),
    *(b"psk=raspberry", b" psk = raspberry ", b"psk=a\\sb\\\\", b"ssid=116;101;", b"id=x", b"#psk=x"),
)
LINES = st.sampled_from(OF_HOSTAPD + OF_CONNECTIONS)
FILES = st.one_of(st.lists(LINES, max_size=14).map(b"\n".join), st.binary(max_size=200))


def of_hostapd(*lines):
    """Make a device with a hostapd file."""
    system = PRODUCTS["hostapd"].made()
    if lines:
        system.edit(hostapd.FILE, b"\n".join(lines))
    return system


def reasons(system, params=None, memory=None):
    """Return label and reason of what is found."""
    return {found.label: found.reason for found in kind.find(system, params or {}, memory or fresh())}


def later():
    """Return what a kind remembers on a device that was provisioned once."""
    memory = fresh()
    memory.first = False
    return memory


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_the_key_is_the_one_that_stations_derive():
    """The arithmetic gives what the real program gave, and a key stands for itself."""
    assert kind.key("raspberry", b"test").hex() == KEY
    assert kind.key(KEY.upper(), b"other").hex() == KEY
    assert kind.same("raspberry", KEY, b"test") and not kind.same("raspberry", KEY, b"tess")
    assert kind.same("raspberry", "raspberry", b"x") and not kind.same("é", "raspberry", b"x")


@given(FILES, st.integers(0, 3))
def test_of_any_hostapd_file_only_secrets_change(blob, place):
    """Every network keeps its name, the others keep their secrets, and no line that is no secret is touched."""
    before, after = kind.read_hostapd(blob), kind.read_hostapd(kind.put_hostapd(blob, place, WORD))
    assert [name for name, _ in before] == [name for name, _ in after]
    for number, ((_, old), (_, new)) in enumerate(zip(before, after, strict=True)):
        assert new == old if number != place else set(new) == ({WORD} if old else set())
    made = kind.put_hostapd(blob, place, WORD)
    kept = [[line for line in one.split(b"\n") if not line.startswith((b"wpa_p", b"sae_"))] for one in (blob, made)]
    assert kept[0] == kept[1]


@given(FILES)
def test_of_any_connection_file_only_the_passphrase_changes(blob):
    """Identity and name stay, a secret becomes the new one, and every line but those with the passphrase stays."""
    made = kind.put_connection(blob, WORD)
    before, after = kind.read_connection(blob), kind.read_connection(made)
    assert before[:2] == after[:2] and after[2] == ((WORD,) if before[2] else ())
    changed = [pair for pair in zip(blob.split(b"\n"), made.split(b"\n"), strict=True) if pair[0] != pair[1]]
    assert all(old.strip().startswith(b"psk") and new == b"psk=" + WORD.encode() for old, new in changed)


@pytest.mark.parametrize(
    ("lines", "name", "secret"),
    [
        (b"[wifi]\nmode=ap\nssid=116;101;115;116;\n[wifi-security]\npsk=raspberry", b"test", "raspberry"),
        (b"[802-11-wireless]\nmode=ap\nssid=a\\sb\n[802-11-wireless-security]\npsk=\\sx\\\\y\\t", b"a b", " x\\y\t"),
        (b"[wifi]\nmode=ap\nssid=300;1;\n[wifi-security]\npsk=one\npsk=two", b"300;1;", "two"),
        (b"[wifi]\nmode=infrastructure\nssid=home\n[wifi-security]\npsk=raspberry", b"home", ""),
        (b"[wifi]\nmode=ap\nssid=open", b"open", ""),
        (b"[wifi]\nssid=x\nmode=ap\n[vpn]\npsk=raspberry", b"x", ""),
    ],
)
def test_connection_files_are_read_as_networkmanager_does(lines, name, secret):
    """Names in bytes and with escapes, old group names, the last of two values; only offered networks have a secret."""
    assert kind.read_connection(lines)[1:] == (name, (secret,) if secret else ())


def test_several_networks_in_a_file():
    """Each network of a hostapd file is one credential: a key, a passphrase and SAE passwords of it become one."""
    system = of_hostapd(*TWO.split(b"\n"))
    labels = [f"one in {hostapd.FILE}", f"two in {hostapd.FILE} (1)"]
    assert sorted(reasons(system)) == labels
    for found in kind.find(system, {}, fresh()):
        kind.replace(system, {}, found, GIVEN)
        kind.prove(system, {}, found, GIVEN)
    expected = b'interface=wlan0\nssid=one\nwpa_passphrase=%s\nbss=wlan0_0\nssid2="two"\nsae_password=%s\n'
    assert system.read(hostapd.FILE) == expected % (WORD.encode(), WORD.encode())
    assert system.stat(hostapd.FILE).mode == 0o600


def test_a_key_of_a_known_passphrase_is_known():
    """A passphrase that stands as the derived key is recognised by deriving."""
    system = of_hostapd(b"ssid=test", b"wpa_psk=" + KEY.encode())
    assert reasons(system, memory=later()) == {f"test in {hostapd.FILE}": kind.REASON}
    assert reasons(of_hostapd(b"ssid=tess", b"wpa_psk=" + KEY.encode()), memory=later()) == {}


def test_until_provisioned_every_passphrase_is_the_images():
    """A passphrase on no list goes too at the first boot, unless the profile says that the owner set it."""
    label, lines = f"mine in {hostapd.FILE}", (b"ssid=mine", b"wpa_passphrase=my own secret")
    assert reasons(of_hostapd(*lines)) == {label: SHIPPED}
    assert reasons(of_hostapd(*lines), {"shipped": "known"}) == {} == reasons(of_hostapd(*lines), memory=later())
    assert reasons(of_hostapd(*lines), {"factory": ("mine:my own secret",)}, later()) == {label: kind.REASON}


def test_a_retired_passphrase_that_is_back():
    """What this device once retired is found whenever it is back; what it made itself is left alone."""
    system, memory = of_hostapd(b"ssid=mine", b"wpa_passphrase=my own secret"), fresh()
    (found,) = kind.find(system, {}, memory)
    assert found.old is not None and found.old.reveal() == b"my own secret"
    kind.replace(system, {}, found, GIVEN)
    kind.remember(system, {}, found, memory)
    assert reasons(system, memory=memory) == {}
    memory.first = False
    system.edit(hostapd.FILE, b"ssid=mine\nwpa_passphrase=my own secret")
    assert reasons(system, memory=memory) == {found.label: BACK}


def test_networks_that_are_joined_are_left_alone():
    """The file of a network that this device joins, even one with a known passphrase, keeps every byte."""
    system = PRODUCTS["NetworkManager"].made()
    assert list(reasons(system)) == [f"Box in {HOTSPOT}"]
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    kind.prove(system, {}, found, GIVEN)
    kind.clean(system, {}, found)
    assert system.read(f"{nmcli.FOLDER}/Home.nmconnection") == JOINED
    assert system.entries(nmcli.FOLDER) == ("Home.nmconnection", "Hotspot.nmconnection")
    assert system.read(HOTSPOT) == CONNECTION.replace(b"psk=raspberry", b"psk=" + WORD.encode())


def test_a_running_networkmanager_is_asked():
    """One that does not take the file up fails the proof; once it does, the active network is offered anew."""
    system = PRODUCTS["NetworkManager"].made()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    system.hand.rights(HOTSPOT, 0o644)  # NetworkManager reads no file that others may read
    with pytest.raises(Failed, match="NetworkManager does not go by the new passphrase"):
        kind.prove(system, {}, found, GIVEN)
    assert at_connection(system, b"raspberry")
    system.hand.rights(HOTSPOT, 0o600)
    kind.prove(system, {}, found, GIVEN)
    assert at_connection(system, GIVEN.reveal()) and not at_connection(system, b"raspberry")
    system.edit(HOTSPOT, CONNECTION.replace(b"uuid", b"#uuid"), mode=0o600)
    kind.replace(system, {}, found, GIVEN)
    kind.prove(system, {}, found, GIVEN)  # by its name, where the file has no UUID
    system.absent.add("nmcli")
    kind.prove(system, {}, found, GIVEN)


def test_a_running_hostapd_reads_again():
    """The proof makes a running hostapd offer the network with the new passphrase; one that does not run is fine."""
    system = of_hostapd()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    assert at_hostapd(system, b"ChangeMe")
    kind.prove(system, {}, found, GIVEN)
    assert at_hostapd(system, GIVEN.reveal()) and not at_hostapd(system, b"ChangeMe")
    system.stop(system.running("hostapd")[0].pid)
    kind.prove(system, {}, found, GIVEN)


def test_a_file_named_elsewhere():
    """The file that /etc/default/hostapd names is looked at too."""
    system = of_hostapd(b"")
    system.edit(kind.DEFAULTS, b'#DAEMON_CONF="/no"\nDAEMON_CONF="/srv/ap.conf"\n')
    system.edit("/srv/ap.conf", HOSTAPD)
    assert list(reasons(system)) == ["RaspAP in /srv/ap.conf"]


def test_a_network_that_is_gone():
    """A network that somebody renamed or removed is another's doing."""
    system = of_hostapd()
    (found,) = kind.find(system, {}, fresh())
    system.edit(hostapd.FILE, b"ssid=new\nwpa_passphrase=raspberry\n")
    assert kind.standing(system, {}, found, GIVEN) == OTHER
    kind.clean(system, {}, found)
    for act in (kind.replace, kind.prove):
        with pytest.raises(Missing, match="is gone; start the device again"):
            act(system, {}, found, GIVEN)


def test_an_odd_name_is_shown_plainly():
    """A network name of control characters cannot write on the owner's screen."""
    (label,) = reasons(of_hostapd(b"ssid=a\x1b[2Jb", b"wpa_passphrase=raspberry"))
    assert label == f"a?[2Jb in {hostapd.FILE}"


def test_copies_with_the_old_passphrase_go():
    """An editor's copy with the passphrase or its key is removed, one without stays."""
    system = of_hostapd()
    system.edit(hostapd.FILE + ".bak", b"wpa_psk=" + kind.key("ChangeMe", b"RaspAP").hex().encode())
    system.edit(hostapd.FILE + ".save", b"ssid=x\n")
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    kind.clean(system, {}, found)
    assert system.entries("/etc/hostapd") == ("hostapd.conf", "hostapd.conf.save")
