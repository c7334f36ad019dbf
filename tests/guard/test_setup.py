"""A device without a fleet sets itself up: once, whatever happens meanwhile, never over what a fleet laid down."""

from collections.abc import Callable

import pytest

from agent import registry
from agent.core import cbor
from agent.core.errors import BadInput, BadPolicy, Missing, Refused
from agent.core.policy import admit, read_policy
from agent.core.secret import Secret
from agent.guard.rules import DEVICE, SEED, read_anchor
from agent.guard.setup import RELEASED, SHIPPED, STATE, WISHES, ensure, read_wishes
from agent.system.simulated import SimulatedSystem
from agent.system.vault import DirectVault
from provisioning.package.policy import shipped_policy
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.house import ROOT

POLICY = shipped_policy(ROOT, 1_700_000_000)
VAULT = DirectVault(Secret(b"k" * 32))
Lay = Callable[[SimulatedSystem], None]


def device(wishes: str = "", image: Lay | None = None) -> SimulatedSystem:
    """Give a Raspberry Pi on which the package was just unpacked."""

    def lay(system: SimulatedSystem) -> None:
        (image or raspberry_pi(CHEAP))(system)
        system.edit(SHIPPED, POLICY)
        if wishes:
            system.edit(WISHES, wishes.encode())

    return SimulatedSystem(image=lay)


def policy_of(system: SimulatedSystem):
    """Verify and read the policy of a device by what the device itself trusts."""
    payload = VAULT.verify_policy(system.read(SEED), read_anchor(system).keys)
    return read_policy(cbor.decode(payload), registry.settings())


def owner_of(system: SimulatedSystem) -> object:
    """Return the owner's account that the policy names."""
    return next(row["params"]["owner_account"] for row in policy_of(system).credentials if row["params"])


def test_the_device_accepts_what_it_signed_for_itself():
    """Its policy verifies, is admitted, collects nothing, has no broker, and names the first person's account."""
    system = device()
    assert ensure(system, VAULT)
    policy, anchor = policy_of(system), read_anchor(system)
    admit(policy, anchor.identity, 0, anchor.floor)
    assert (policy.purposes, policy.fields, policy.recipients) == ((), (), ())
    assert policy.broker == {"host": "", "port": 0}
    assert {"motd", "syslog", "terminal"} <= set(policy.channels)
    assert not any("8883" in flow for flow in policy.baseline["firewall.outbound"])
    assert owner_of(system) == "uid:1000"
    assert [system.stat(path).mode for path in (DEVICE, SEED)] == [0o600, 0o600]


def test_every_device_has_an_identity_of_its_own():
    """Two devices share neither name nor key; the name is no serial number but sixteen random letters."""
    anchors = []
    for _ in range(2):
        system = device()
        ensure(system, VAULT)
        anchors.append(read_anchor(system))
    assert anchors[0].identity.device != anchors[1].identity.device
    assert anchors[0].keys != anchors[1].keys
    assert all(len(one.identity.device) == 16 for one in anchors)


def test_the_private_key_is_nowhere():
    """After the signature no file holds a key: what is on the disk besides is the image and the two seeds."""
    before = {path for path, _ in device().disk.walk()}
    system = device()
    ensure(system, VAULT)
    assert {path for path, _ in system.disk.walk()} - before == {DEVICE, SEED, "/etc/privet"}


def test_a_second_time_changes_nothing():
    """What stands, stands; a fleet's device is never touched, not even its policy."""
    system = device()
    ensure(system, VAULT)
    first = system.read(DEVICE), system.read(SEED)
    assert ensure(system, VAULT)
    assert (system.read(DEVICE), system.read(SEED)) == first
    flashed = device()
    flashed.edit(DEVICE, b"a fleet's")
    assert ensure(flashed, VAULT)
    with pytest.raises(Missing):
        flashed.read(SEED)


def test_power_may_go_at_any_call():
    """Whichever call is the last, the next start ends with a device that trusts its own policy; every cut fired."""

    def work(system: SimulatedSystem) -> None:
        ensure(system, VAULT)

    calls = device().count(work)
    fired = 0
    for k in range(1, calls + 1):
        for lose in ("all", "none", "torn"):
            system = device()
            fired += system.kill_at(k, work, lose)
            assert ensure(system, VAULT)
            assert policy_of(system).device == read_anchor(system).identity.device
    assert fired == 3 * calls > 30


def test_a_twin_that_marks_first_is_caught():
    """Were device.cbor written before the policy, some cut would leave a device that believes it is set up."""

    def twin(system: SimulatedSystem) -> None:
        ensure(system, VAULT)
        content = system.read(DEVICE), system.read(SEED)
        system.remove(SEED)
        system.write(DEVICE, content[0], 0o600)
        system.write(SEED, content[1], 0o600)

    broken = 0
    for k in range(1, device().count(twin) + 1):
        system = device()
        system.kill_at(k, twin, "all")
        ensure(system, VAULT)
        try:
            policy_of(system)
        except Missing:
            broken += 1
    assert broken


def test_the_owner_may_be_named():
    """setup.toml names the account; without one it is that with the number 1000, else root: somebody must get in."""
    system = device('automatic = true\nowner_account = "root"\n')
    ensure(system, VAULT)
    assert owner_of(system) == "root"
    system = device()
    system.edit("/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nanna:x:1001:1001::/home/anna:/bin/bash\n")
    ensure(system, VAULT)
    assert owner_of(system) == "root"


def test_by_hand_only():
    """`automatic = false` leaves the machine alone; so does `privet restore` until `privet setup`."""
    system = device("automatic = false\n")
    assert not ensure(system, VAULT)
    assert not system_has(system, DEVICE)
    system = device()
    ensure(system, VAULT)
    system.write(RELEASED, b"", 0o600)
    assert not ensure(system, VAULT)


def system_has(system: SimulatedSystem, path: str) -> bool:
    """Say whether a file is there."""
    try:
        system.stat(path)
    except Missing:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("automatic = yes\n", "setup.toml: .*line 1"),
        ("# x\n\nautomatic = 1\n", r"setup.toml, line 3: automatic is true or false"),
        ("automatic = true\nowner_account = true\n", r"line 2: owner_account is a name in quotes"),
        (
            "automatic = true\nowner = 'anna'\n",
            r"line 2: nothing here is called 'owner'; known are automatic and owner",
        ),
        ("owner_account = 'anna'\n", r"line 1: this device has no account called 'anna'"),
        ("[section]\n", r"line 1: nothing here is called"),
    ],
)
def test_a_slip_in_the_file_is_named_with_its_line(text: str, said: str):
    """One sentence with file, line and what to do; nothing is set up meanwhile."""
    system = device(text)
    with pytest.raises(BadInput, match=said):
        ensure(system, VAULT)
    assert not system_has(system, DEVICE)


def test_a_file_that_is_no_text_is_refused():
    """Bytes that are no UTF-8 are named as such."""
    system = device()
    system.edit(WISHES, b"\xff\xfe")
    with pytest.raises(BadInput, match="UTF-8"):
        read_wishes(system)


def test_a_memory_without_an_identity_is_not_overwritten():
    """Where device.cbor is gone but the state is there, nobody guesses: one sentence says what to do."""
    system = device()
    system.edit(STATE, b"x")
    with pytest.raises(Refused, match=r"put .* back"):
        ensure(system, VAULT)


def test_without_the_package_it_says_so():
    """A checkout has no shipped policy; a damaged one is refused and nothing is written."""
    with pytest.raises(Missing, match="was not set up"):
        ensure(SimulatedSystem(image=raspberry_pi(CHEAP)), VAULT)
    system = device()
    system.edit(SHIPPED, b"\x80")
    with pytest.raises(BadPolicy, match="damaged"):
        ensure(system, VAULT)
    assert not system_has(system, DEVICE)
