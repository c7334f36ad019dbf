"""Which settings are looked at after a change: those it may move, not all that lie in the neighbourhood."""

import pytest

from agent import registry
from agent.guard.posture import Posture
from agent.system.simulated import SimulatedSystem
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.guard.conftest import Kept

SETTINGS = registry.settings()


@pytest.fixture(scope="module")
def posture() -> Posture:
    """A posture that has looked at everything, so that it knows all places."""
    device = SimulatedSystem(image=raspberry_pi(CHEAP))
    made = Posture(device, SETTINGS, {name: setting.strictest() for name, setting in SETTINGS.items()})
    made.look(made.names(), ())
    return made


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        (("/etc/sudoers.d", "010_mine"), {"sudoers"}),
        (("/etc/sysctl.d", "99-mine.conf"), {"sysctl"}),
        (("/home", "anna"), {"file_mode"}),
        (("/etc/ssh/sshd_config.d", "00-mine.conf"), {"sshd_option"}),
    ],
)
def test_a_change_moves_its_own_kind(posture: Posture, event: tuple[str, str], kinds: set[str]) -> None:
    """A file in a directory of one kind has nothing of another looked at."""
    assert {SETTINGS[name].provider for name in posture.touched({event})} == kinds


def test_what_is_above_moves_what_is_on_its_way(posture: Posture) -> None:
    """A directory replaced further up moves all beneath it, another name there does not; in doubt all is moved."""
    assert "ssh.password" in posture.touched({("/etc", "ssh")})
    assert "ssh.password" not in posture.touched({("/etc", "resolv.conf")})
    assert "ssh.password" in posture.touched({("/etc", "")})
    assert posture.touched({("", "")}) == posture.names()
    assert "net.listeners" in posture.touched({("/run/systemd/units", "invocation:telnet.socket")})
    assert posture.touched({("/run/systemd/units", "invocation:privet-hand-look@3-7-0.service")}) == ()
    assert posture.touched({("/srv", "x"), ("/etc/sudoers.d", "x")}) == ("sudo.nopasswd", "sudo.ticket")


def test_only_what_moved_is_looked_at_before_the_warning(kept: Kept) -> None:
    """From a rule of sudo written by hand to its warning no other kind is probed."""
    looked: list[str] = []

    class Noting(Posture):
        """A posture that notes what it looks at."""

        def look(self, names, waivers):
            """Note until it is told, and look."""
            if not kept.warnings("loosened"):
                looked.extend(names)
            return super().look(names, waivers)

    kept.turn()
    kept.house.guard.posture.__class__ = Noting
    kept.system.edit("/etc/sudoers.d/90-mine", b"pi ALL=(ALL) NOPASSWD: /bin/true\n", mode=0o440)
    kept.turn()
    assert [w for w in kept.warnings("loosened") if w.setting == "sudo.nopasswd"]
    assert {name.partition(".")[0] for name in looked} == {"sudo"}
