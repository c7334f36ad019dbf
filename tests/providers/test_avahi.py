"""Avahi on a simulated Raspberry Pi: a daemon that has ended leaves its number behind, and runs no more."""

from agent import registry
from agent.guard.executor import apply
from agent.providers.linux import avahi
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.raspberry import image

SETTING = registry.settings()["mdns.publish"]


def test_the_number_of_one_that_has_ended_is_no_daemon() -> None:
    """Running and not started anew: not known. Ended, its number still there: what is kept is all there is."""
    device = SimulatedSystem(image=image)
    apply(device, avahi.steps(avahi.prepare(device, {}), SETTING.strictest())[:1])  # written, not started anew
    assert avahi.probe(device, {}).live is None
    (process,) = device.running("avahi-daemon")
    device.edit("/srv/kept", device.read(avahi.PIDFILE))
    device.stop(process.pid)
    device.edit(avahi.PIDFILE, device.read("/srv/kept"))
    reading = avahi.probe(device, {})
    assert (reading.live, reading.kept, reading.cause) == (SETTING.strictest(), SETTING.strictest(), "")
