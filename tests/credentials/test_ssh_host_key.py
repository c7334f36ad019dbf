"""Host keys that came with the image are replaced, the running server answers with new ones, no old one is left."""

import pytest

from agent.core.credential import NEW, OLD, OTHER, Memory
from agent.core.errors import BadInput, Failed
from agent.credentials import ssh_host_key as kind
from agent.system.parts import Credential
from agent.system.simulated.programs import ssh_keygen
from agent.system.simulated.system import SimulatedSystem

ED25519, RSA, ECDSA = (f"/etc/ssh/ssh_host_{name}_key" for name in ("ed25519", "rsa", "ecdsa"))
ELSEWHERE = "/data/ssh/hostkey"


def image(*paths):
    """Return what lays down factory host keys at these paths and no others."""

    def lay(device):
        for path in (ED25519, RSA, ECDSA):
            device.hand.discard(path)
            device.hand.discard(path + ".pub")
        for path in paths:
            ssh_keygen.make(device, path, "factory", next((k for k in ("rsa", "ecdsa") if k in path), "ed25519"))

    return lay


def device(*paths):
    """Make a device with factory keys at these paths."""
    return SimulatedSystem(image=image(*paths))


def fresh():
    """Return what a kind remembers on a new device."""
    return Memory(set(), set(), True)


def scanned(system):
    """Return the keys that the running server answers with."""
    return {line.split()[2] for line in system.run(("ssh-keyscan", "127.0.0.1")).out.splitlines()}


def rotated(system, params=None, memory=None):
    """Replace, prove, clean and remember what is found; return the labels."""
    labels, remembered = [], memory or fresh()
    for found in kind.find(system, params or {}, remembered):
        assert kind.standing(system, params or {}, found, None) == OLD
        kind.replace(system, params or {}, found, None)
        assert kind.standing(system, params or {}, found, None) == NEW
        kind.prove(system, params or {}, found, None)
        kind.clean(system, params or {}, found)
        kind.remember(system, params or {}, found, remembered)
        labels.append(found.label)
    return labels


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_all_keys_of_the_image_go():
    """The Ed25519 key is remade, the others are removed, and the running server answers with the new one alone."""
    system = device(ED25519, RSA, ECDSA)
    before = scanned(system)
    assert len(before) == 3
    assert rotated(system) == [ED25519, ECDSA, RSA]  # never without a key: what stays is remade first
    after = scanned(system)
    assert len(after) == 1 and not after & before
    assert system.entries("/etc/ssh") == (
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
        "sshd_config",
        "sshd_config.d",
    )
    assert system.stat(ED25519).mode == 0o600


def test_an_image_without_keys_gets_one():
    """A missing key of a wanted type is made, so that the server can start."""
    system = device()
    assert [found.reason for found in kind.find(system, {}, fresh())] == [kind.NONE]
    assert rotated(system) == [ED25519]
    assert system.run(("sshd", "-t")).code in (0, 255)
    system.reboot()
    assert len(scanned(system)) == 1


def test_the_profile_may_want_more_types():
    """Types that the profile names are kept and remade."""
    system = device(ED25519, RSA, ECDSA)
    assert sorted(rotated(system, {"types": ("ed25519", "rsa")})) == sorted([ED25519, RSA, ECDSA])
    assert len(scanned(system)) == 2
    assert system.read(RSA + ".pub").startswith(b"ssh-rsa ")


@pytest.mark.parametrize("params", [{"types": ("dsa",)}, {"types": ()}, {"types": "rsa"}, {"directory": 7}])
def test_wrong_params_are_refused(params):
    """Weak or unknown types, and values of another form, change nothing and say what to correct."""
    with pytest.raises(BadInput, match="correct the profile"):
        kind.find(device(ED25519), params, fresh())


def test_keys_made_here_are_not_rotated_again():
    """What this device made is remembered; looking again finds nothing, before and after provisioning."""
    system, memory = device(ED25519), fresh()
    rotated(system, memory=memory)
    assert kind.find(system, {}, memory) == ()
    memory.first = False
    assert kind.find(system, {}, memory) == ()


def test_the_factory_key_that_returns_is_found():
    """A restored image brings the old key back: it is found after first boot too; the owner's own new key is not."""
    system, memory = device(ED25519), fresh()
    old = system.read(ED25519)
    rotated(system, memory=memory)
    memory.first = False
    system.edit(ED25519, old)
    assert [found.reason for found in kind.find(system, {}, memory)] == [kind.BACK]
    image(ED25519)(system)
    assert kind.find(system, {}, memory) == ()


def test_a_server_that_keeps_the_old_key_is_noticed():
    """The proof asks the running server: one that still answers with the image's key fails it."""
    system = device(ED25519)
    (found,) = kind.find(system, {}, fresh())
    kind.make(system, ED25519, "ed25519")  # without the reload
    with pytest.raises(Failed, match="does not answer with"):
        kind.prove(system, {}, found, None)
    system.reload("ssh", "/run/sshd.pid")
    kind.prove(system, {}, found, None)


def test_a_half_written_pair_is_made_again():
    """Cut between the two files of a pair: the private key is still the old one, so all is done again."""
    system = device(ED25519)
    (found,) = kind.find(system, {}, fresh())
    system.edit(ED25519 + ".pub", b"ssh-ed25519 AAAA\n")
    assert kind.standing(system, {}, found, None) == OLD
    kind.replace(system, {}, found, None)
    kind.prove(system, {}, found, None)


def test_a_pair_that_does_not_match_is_noticed():
    """A public half that does not belong to the private one fails the proof."""
    system = device(ED25519)
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, None)
    system.edit(ED25519 + ".pub", b"ssh-ed25519 AAAA\n")
    with pytest.raises(Failed, match="does not load"):
        kind.prove(system, {}, found, None)


def test_no_server_no_keys():
    """A device without an SSH server is left alone; one whose server does not run is proven by its files."""
    bare = SimulatedSystem(shipped=False)
    assert kind.find(bare, {}, fresh()) == ()
    system = device(ED25519)
    for process in system.running("sshd"):
        system.stop(process.pid)
    assert rotated(system) == [ED25519]


def test_a_strange_key_in_the_way_is_anothers():
    """A key of an unwanted type that is not the one found is someone else's doing."""
    system = device(ED25519, RSA)
    found = kind.find(system, {}, fresh())[1]
    image(ED25519, RSA)(system)
    assert (found.label, kind.standing(system, {}, found, None)) == (RSA, OTHER)


def test_the_private_key_never_lies_about():
    """Making leaves nothing in the place where keys are made, and no secret reaches an argument."""
    system = device(ED25519)
    rotated(system)
    assert system.entries(kind.MAKING) == ()
    assert system.stat(kind.MAKING).mode == 0o700


def test_fingerprints_are_what_ssh_shows():
    """The owner compares SHA256 of the key blob, as ssh prints it."""
    system = device(ED25519)
    rotated(system)
    (shown,) = kind.fingerprints(system, {})
    assert shown.startswith("SHA256:") and shown.endswith(" (ED25519)") and len(shown) == 7 + 43 + 10


def test_a_failing_key_maker_says_so():
    """When ssh-keygen makes no key the old one stays, and the sentence names the tool."""
    system = device(ED25519)
    (found,) = kind.find(system, {}, fresh())

    class Broken:
        """A key maker that fails."""

        def run(self, device, argv, stdin):
            """Fail."""
            return type(system.run(("sshd", "-t")))(code=1, out=b"", err=b"")

    system.programs["ssh-keygen"] = Broken()
    with pytest.raises(Failed, match="ssh-keygen made no ed25519 key"):
        kind.replace(system, {}, found, None)
    assert kind.standing(system, {}, found, None) == OLD
