"""The demo, as a row of scenes: each does its part for real, asserts that it happened, and returns what to show.

Everything lives under one directory; nothing else on this machine is changed, and what is started is ended.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.assess import ABSENT, OK, Finding
from agent.core.errors import Failed
from agent.core.shown import spell
from agent.core.warn import PrivacyWarning
from provisioning.profile.issue import Issued, issue_policy, seed_files
from provisioning.simulate.command import Command, Said
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.doors import host_keys, opens, signs_in, stranger_hears
from provisioning.simulate.pi import PASSWORD, USER, YESCRYPT, raspberry_pi
from provisioning.simulate.stage import HOST, Stage

PURPOSE, FIELD, MEASURED, LEAVES, ROUNDED = "climate", "temperature", "21.537", "21.5", 120  # times, to seconds
SETTING = "ssh.password"
HAND_EDIT = ("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PasswordAuthentication yes\n")
WARNED_WITHIN = 2.0  # seconds
SPEED = 30
Facts = dict[str, Any]


class Scene(NamedTuple):
    """One thing shown: its name, its title, what is to be seen, and how long it took (seconds)."""

    name: str
    title: str
    facts: Facts
    took: float


def must(true: bool, what: str) -> None:
    """Stop the demo when something it shows did not truly happen."""
    if not true:
        raise Failed(f"the demo stopped: {what}; run it with --keep and look into its directory")


class Demo:
    """Play it with `for scene in Demo(folder, profile).scenes()`; `close` ends everything."""

    def __init__(self, folder: Path, profile: Path, live: Callable[[int], None] = lambda _left: None) -> None:
        self.folder = folder
        self.live = live
        self.profile = profile
        self.stage: Stage | None = None
        self.crowd = Crowd()
        self.name = f"d-{secrets.token_hex(4)}"
        self.policy: Issued | None = None
        self.before: dict[str, Finding] = {}
        self.old_keys: tuple[bytes, ...] = ()
        self.secret = ""

    def scenes(self) -> Iterator[Scene]:
        """Play scene after scene."""
        table: tuple[tuple[str, str, Callable[[], Facts]], ...] = (
            ("fleet", "A fleet is made", self.make_fleet),
            ("factory", "A Raspberry Pi as it comes from its image", self.unpack),
            ("boot", "Its first start", self.boot),
            ("credentials", "The factory password is gone", self.credentials),
            ("telemetry", "A reading, sealed", self.telemetry),
            ("drift", "Somebody loosens SSH by hand", self.drift),
            ("loosen", "The owner loosens SSH with open eyes", self.loosen),
            ("revert", "And it ends by itself", self.revert),
            ("journal", "What happened is on record", self.journal),
        )
        for name, title, play in table:
            began = time.monotonic()
            facts = play()
            yield Scene(name, title, facts, time.monotonic() - began)

    def close(self) -> None:
        """End devices, collector and broker."""
        self.crowd.close()
        if self.stage is not None:
            self.stage.close()
            self.stage = None

    def rest(self, seconds: float) -> None:
        """Let everyone go on for a while, so that a person can read."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.crowd.turn(0.05)

    # -- scenes

    def make_fleet(self) -> Facts:
        """Keys, authorities, a signed policy and a broker that lets nobody in without a certificate."""
        stage = self.stage = Stage.build(self.folder, f"demo-{secrets.token_hex(3)}")
        self.policy = issue_policy(stage.fleet, self.profile)
        stage.start()
        stage.look_on()
        stranger = stranger_hears(HOST, stage.port, stage.fleet.trust_anchor())
        must(bool(stranger), "the broker let somebody in who has no certificate")
        return {
            "fleet": stage.fleet.name,
            "directory": str(self.folder),
            "profile": self.profile.name,
            "policy": {"sequence": self.policy.sequence, "bytes": len(self.policy.signed)},
            "broker": f"{HOST}:{stage.port}",
            "stranger": stranger,
        }

    def unpack(self) -> Facts:
        """A factory-fresh device: its known password opens it, and most doors stand open."""
        stage, policy = self.built()
        seeds = seed_files(stage.fleet, policy, self.name)
        device = Device(self.name, self.folder / "device", raspberry_pi(YESCRYPT), seeds)
        self.device = device
        self.before = {finding.setting: finding for finding in device.look()}
        self.old_keys = host_keys(device)
        must(opens(device, USER, PASSWORD), "the factory password does not open the factory device")
        must(signs_in(device, USER, PASSWORD), "the factory password does not sign in over SSH")
        loose = [f for f in self.before.values() if f.status not in (OK, ABSENT)]
        must(bool(loose), "nothing was open on the factory device")
        return {"device": self.name, "user": USER, "password": PASSWORD, "opens": True, "open_settings": len(loose)}

    def boot(self) -> Facts:
        """The guard's first start: shut in, rotated, tightened, then the door opens as far as the policy says."""
        stage, _ = self.built()
        self.device.boot(listen=True)
        self.device.enrol(stage.fleet)
        self.crowd.join(self.device)
        posture = self.device.running.guard.posture
        self.turn_until(lambda: not posture.awaited.since, 60, "the new password to be compared with known ones")
        findings = posture.findings
        rows = []
        for name, finding in sorted(findings.items()):
            before, title = self.before[name], self.device.running.guard.settings[name].title
            must(finding.status in (OK, ABSENT), f"after the first start {name} is {finding.status} ({finding.cause})")
            if finding.status == OK:
                was_open = before.status not in (OK, ABSENT)
                row = {"setting": name, "title": title, "was_open": was_open}
                rows.append({**row, "before": spell(before.found), "after": spell(finding.found)})
        phase = self.device.running.books.store.get("first_boot")
        must(phase == {"phase": "provisioned"}, "the first start did not finish")
        self.turn_until(self.connected, 10, "the connection to the broker")
        return {"settings": rows, "tightened": sum(row["was_open"] for row in rows)}

    def credentials(self) -> Facts:
        """The old password is refused, the new one is shown to the owner once and works."""
        device = self.device
        must(not opens(device, USER, PASSWORD), "the factory password still opens the device")
        shown = self.run("credentials", "show", "--once")
        secret = self.secret = shown.text.splitlines()[0].rpartition(": ")[2]
        must(shown.code == 0 and opens(device, USER, secret), "the new password does not open the device")
        again = self.run("credentials", "show", "--once")
        must(secret not in again.text, "the new password was shown a second time")
        must(not set(self.old_keys) & set(host_keys(device)), "a host key of the image is still there")
        return {
            "commands": [shown.facts(), again.facts()],
            "old_opens": False,
            "new_opens": True,
            "host_keys_replaced": True,
        }

    def telemetry(self) -> Facts:
        """Refused without consent; then minimised, sealed, sent: what the broker sees, what the recipient sees."""
        stage, _ = self.built()
        refused = self.run("send", f"{FIELD}={MEASURED}")
        must(refused.code == 16, "a reading was accepted although nobody had agreed")
        agreed = self.run("consent", "give", PURPOSE, stdin="y\n")
        must(agreed.code == 0, "the owner could not agree")
        began = time.monotonic()
        sent = self.run("send", f"{FIELD}={MEASURED}")
        must(sent.code == 0, "a reading was refused although the owner had agreed")
        found: list[Any] = []

        def arrived() -> bool:
            found.extend(stage.receiving.take())
            return bool(found)

        self.turn_until(arrived, 10, "the arrival of the reading")
        took = time.monotonic() - began
        reading = found[0]
        must((reading.name, str(reading.value), reading.at % ROUNDED) == (FIELD, LEAVES, 0), "it arrived changed")
        self.turn_until(self.device.confirmed, 10, "the recipient's word that it keeps the reading")
        heard = stage.onlooker.heard if stage.onlooker else []
        must(len(heard) >= 2, "the onlooker at the broker heard nothing")
        for _, payload in heard:
            must(FIELD.encode() not in payload and b"Cel" not in payload, "the broker could read the reading")
        topic, payload = heard[-1]
        return {
            "commands": [refused.facts(), agreed.facts(), sent.facts()],
            "measured": MEASURED,
            "topic": topic,
            "broker_sees": payload.hex(),
            "recipient_sees": {
                "name": reading.name,
                "value": str(reading.value),
                "unit": reading.unit,
                "at": reading.at,
            },
            "seconds": round(took, 3),
        }

    def drift(self) -> Facts:
        """A hand edit opens SSH to passwords: the warning comes within two seconds, and it is shut again."""
        device = self.device
        known = {warning.id for warning in device.running.books.warnings}
        path, line = HAND_EDIT
        device.system.edit(path, line)
        device.system.reload("ssh.service", "/run/sshd.pid")
        must(self.enters(), "the hand edit did not open SSH to passwords")
        warnings: list[PrivacyWarning] = []

        def warned() -> bool:
            warnings[:] = [w for w in device.running.books.warnings if w.id not in known and w.setting == SETTING]
            return bool(warnings)

        took = self.turn_until(warned, 5, "the warning")
        must(took < WARNED_WITHIN, f"the warning took {took:.1f} s")
        must(not self.enters(), "SSH still takes passwords")
        must(device.running.guard.posture.findings[SETTING].status == OK, "the setting was not restored")
        screen = device.system.read("/run/motd.d/50-privet").decode()
        must(warnings[0].title in screen, "the warning is not on the screen of whoever signs in")
        return {"path": path, "line": line.decode().strip(), "seconds": round(took, 3), "warning": screen.strip()}

    def loosen(self) -> Facts:
        """The risk is shown before anything happens; a no changes nothing, a yes is on record with its end."""
        guard = self.device.running.guard
        words = ("loosen", SETTING, "yes", "--for", "1m", "--reason", "copying a backup")
        declined = self.run(*words, stdin="n\n")
        risk = guard.settings[SETTING].options[1].risk
        must(risk in declined.text and not self.enters(), "the risk was not shown before anything happened")
        agreed = self.run(*words, stdin="y\n")
        must(agreed.code == 0 and self.enters(), "the owner could not loosen the setting")
        waiver = guard.waiver(SETTING)
        must(waiver is not None, "the leave is not on record")
        return {"commands": [declined.facts(), agreed.facts()], "risk": risk, "reason": waiver.reason if waiver else ""}

    def revert(self) -> Facts:
        """A countdown on an accelerated clock; at its end the setting is private again and the owner is told."""
        guard, clock = self.device.running.guard, self.device.system.clock
        self.crowd.speed = SPEED
        counted: list[int] = []

        def over() -> bool:
            running = guard.waiver(SETTING)
            left = running.remaining(clock()) if running else 0
            if not counted or left < counted[-1]:
                counted.append(left)
                self.live(left)
            return running is None

        took = self.turn_until(over, 30, "the end of the leave")
        self.crowd.speed = 1
        must(not self.enters(), "SSH still takes passwords after the leave was over")
        told_of = [warning for warning in self.device.running.books.warnings if warning.kind == "ended"]
        must(bool(told_of), "nobody was told that the leave is over")
        text = f"{told_of[0].title}. {told_of[0].outcome}"
        return {"countdown": counted, "speed": SPEED, "seconds": round(took, 3), "ended": text}

    def journal(self) -> Facts:
        """The chain of the journal is whole, and every setting is private again."""
        verified = self.run("journal", "--verify")
        must(verified.code == 0, "the journal is not sound")
        status = self.run("status")
        must(status.code == 0, "the device is not private at the end")
        return {"commands": [verified.facts()], "status": status.text.splitlines()[0]}

    # -- within

    def built(self) -> tuple[Stage, Issued]:
        """Return what the first scene made."""
        if self.stage is None or self.policy is None:
            raise Failed("the demo plays its scenes in order; start with the first one")
        return self.stage, self.policy

    def enters(self) -> bool:
        """Say whether somebody who knows the password can sign in over SSH at this moment."""
        return signs_in(self.device, USER, self.secret)

    def connected(self) -> bool:
        """Say whether device, collector and onlooker are all connected."""
        stage, messenger = self.built()[0], self.device.messenger
        heard = stage.onlooker is not None and stage.onlooker.ready
        return heard and stage.receiving.connected and messenger is not None and messenger.state_word == "connected"

    def turn_until(self, done: Callable[[], bool], seconds: float, what: str) -> float:
        """Let everyone work until something is so; return how long it took."""
        return self.built()[0].until(done, lambda: self.crowd.turn(0.02), seconds, what)

    def run(self, *words: str, stdin: str = "") -> Said:
        """Run the owner's command on the device, which answers meanwhile."""
        command = Command(self.device, *words, stdin=stdin)
        try:
            self.turn_until(command.over, 30, f"privet {words[0]}")
        except BaseException:
            command.kill()
            raise
        return command.said()
