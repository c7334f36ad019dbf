"""Every setting that ships, from strict to each looser option and back, on a simulated Raspberry Pi.

Nothing here names a setting: a new file in agent/settings is tested by being there.
"""

import importlib
import re
from contextlib import suppress

import pytest

from agent import registry
from agent.core.assess import LOOSENED, OK, Finding, Reading, assess
from agent.core.errors import Missing
from agent.core.order import ANY
from agent.core.record import Params, Value
from agent.core.setting import Option, Setting
from agent.core.warn import risk_of
from agent.guard.executor import apply
from agent.system.parts import Step
from agent.system.simulated import SimulatedSystem, products, raspberry

SETTINGS = registry.settings()
LOOSER = [(s.id, option) for s in SETTINGS.values() for option in s.options[1:]]
NAMES = [f"{name}={option.value!r}" for name, option in LOOSER]
LETTERS = {"EN303645", "EN18031-1", "EN18031-2", "EN18031-3", "CRA", "GDPR", "PSTI", "RFC8520"}
JARGON = re.compile(
    r"daemon|sysctl|socket|systemd|syslog|suid|loopback|TKIP|IPv4|\b[UG]ID\b|\b(TCP|UDP)\b|group root|\b0[0-7]{3}\b"
)
OBSERVERS = {"local", "account", "person", "radio", "lan", "internet", "vendor", "third", "device"}


def made(setting: Setting) -> SimulatedSystem:
    """Start a Raspberry Pi as it leaves the card writer, with the product that the setting is about."""

    def image(device: SimulatedSystem) -> None:
        raspberry.board(device)
        if "product" in setting.params:
            products.lay(device, str(setting.params["product"]))

    return SimulatedSystem(image=image)


def look(device: SimulatedSystem, setting: Setting) -> Reading:
    """Probe."""
    return registry.provider(setting.provider).probe(device, setting.params)


def judged(device: SimulatedSystem, setting: Setting, wanted: Value) -> Finding:
    """Probe and judge."""
    return assess(setting, wanted, look(device, setting), (), device.clock())


def steps(device: SimulatedSystem, setting: Setting, value: Value) -> tuple[Step, ...]:
    """Say what makes a value hold, knowing what the provider wants to know of the device."""
    provider = registry.provider(setting.provider)
    prepare = getattr(provider, "prepare", None)
    params: Params = prepare(device, setting.params) if prepare else setting.params
    return provider.steps(params, value)


def settled(device: SimulatedSystem, setting: Setting) -> None:
    """Start a device anew where what was set holds from the next start on only; until then it says so."""
    if getattr(registry.provider(setting.provider), "RESTART", False):
        reading = look(device, setting)
        assert reading.live == reading.kept or reading.cause or reading.kept != setting.strictest(), reading
        device.reboot()


def bring(device: SimulatedSystem, setting: Setting, value: Value) -> None:
    """Make a value hold: by its steps, or by a stranger where only its owner settles it."""
    if setting.enforce:
        apply(device, steps(device, setting, value))
        settled(device, setting)
    else:
        importlib.import_module(f"tests.strangers.{setting.provider}").put(device, setting.params, value)


def safe(setting: Setting) -> SimulatedSystem:
    """Start a device on which this setting is at its strictest."""
    device = made(setting)
    bring(device, setting, setting.strictest())
    return device


def parts(device: SimulatedSystem) -> set[str]:
    """List every file that has no place of its own in the image: ours."""
    found, todo = set(), ["/etc"]
    while todo:
        directory = todo.pop()
        for name in device.entries(directory):
            path = f"{directory}/{name}"
            if device.stat(path).kind == "directory":
                todo.append(path)
            else:
                found.add(path)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_of_the_strictest_option_make_it_hold_now_and_after_a_restart(name: str) -> None:
    """Once enforced a setting is fine, stays so over a restart, and enforcing again changes no file."""
    setting = SETTINGS[name]
    device = safe(setting)
    assert judged(device, setting, setting.strictest()).status == OK
    before = {path: device.stat(path) for path in parts(device)}
    bring(device, setting, setting.strictest())
    same = {path: device.stat(path) for path in parts(device)} == before
    assert same or setting.provider == "file_mode" or not setting.enforce
    device.reboot()
    assert judged(device, setting, setting.strictest()).status == OK


@pytest.mark.parametrize(("name", "option"), LOOSER, ids=NAMES)
def test_each_looser_option_is_found_told_and_undone(name: str, option: Option) -> None:
    """Safe, then loosened: one finding that says a risk; then steps, and it is safe again (EN 303 645 5.12-3)."""
    setting = SETTINGS[name]
    device = safe(setting)
    bring(device, setting, option.value)
    finding = judged(device, setting, setting.strictest())
    assert finding.status == LOOSENED, finding
    assert finding.found is not None
    risk, exposes = risk_of(setting, setting.strictest(), finding.found)
    assert risk and exposes
    if not setting.enforce:
        assert steps(device, setting, setting.strictest()) == ()
    bring(device, setting, setting.strictest())
    assert judged(device, setting, setting.strictest()).status == OK


@pytest.mark.parametrize(("name", "option"), LOOSER, ids=NAMES)
def test_an_allowed_option_is_no_finding(name: str, option: Option) -> None:
    """Where the policy allows a looser option, neither that one nor the strictest is a false alarm."""
    setting = SETTINGS[name]
    device = safe(setting)
    assert judged(device, setting, option.value).status == OK
    bring(device, setting, option.value)
    reading = look(device, setting)
    assert reading.live is not None and reading.kept is not None, reading
    assert judged(device, setting, option.value).status == OK, reading


@pytest.mark.parametrize("name", SETTINGS)
def test_the_image_before_privet_is_never_taken_for_private_by_mistake(name: str) -> None:
    """On the untouched image each place was read or says why not; what cannot be read is no pass."""
    setting = SETTINGS[name]
    reading = look(made(setting), setting)
    assert reading.cause or (reading.live is not None and reading.kept is not None)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_looser_value_never_passes_for_a_stricter_one(name: str) -> None:
    """Each looser option, and a value nobody knows, is refused by the strictest."""
    setting = SETTINGS[name]
    lattice = setting.lattice()
    for option in setting.options[1:]:
        assert not lattice.allows(setting.strictest(), option.value)
    assert not lattice.allows(setting.strictest(), ANY)
    assert not lattice.allows(setting.strictest(), "no such value")


def risks(setting: Setting) -> list[str]:
    """Return all that a setting says may follow."""
    return [setting.risk, *(option.risk for option in setting.options[1:])]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_speaks_to_its_owner(name: str) -> None:
    """Title and risks are sentences an owner understands; every option says who gains what; provisions are named."""
    setting = SETTINGS[name]
    assert setting.exposes
    for risk in risks(setting):
        assert risk[0].isupper() and risk.endswith(".") and len(risk) <= 200, risk
        assert not JARGON.search(risk), risk
    assert len(set(risks(setting))) == len(risks(setting)), "two options with one risk are told apart by nobody"
    for option in setting.options[1:]:
        assert option.exposes, option.value
    for word in [*setting.exposes, *(word for option in setting.options for word in option.exposes)]:
        observer, colon, asset = word.partition(":")
        assert observer in OBSERVERS and colon and asset
    assert {one.partition(":")[0] for one in setting.satisfies} <= LETTERS
    assert name.replace(".", "_") == setting.id.replace(".", "_")


@pytest.mark.parametrize("name", SETTINGS)
def test_watches_are_directories_and_params_are_complete(name: str) -> None:
    """What is watched are directories, never files; every parameter the provider asks for is given."""
    setting = SETTINGS[name]
    provider = registry.provider(setting.provider)
    device = made(setting)
    for place in provider.watches(setting.params):
        assert place.startswith("/")
        with suppress(Missing):  # a place that is not there yet is watched through its parent
            assert device.stat(place).kind == "directory", place
    assert set(provider.PARAMS) <= set(setting.params)
