"""Break glass on the emulated Pi: the printed code in a file on the card gives the device back to whoever owns it."""

from tests.pi.board import LONG
from tests.pi.factory import USER
from tests.pi.story import Story

FILE = "privet-recovery.txt"
SEALED = "/var/lib/privet/recovery.sealed"


def test_the_recovery_file_gives_the_device_back(lived: Story):
    """Code on the boot partition, power on: back to private, announced; what was known is gone, the way in is new."""
    code, password = lived.code, lived.password
    lived.card.lay({FILE: code.encode() + b"\r\n"})
    assert lived.card.found(code.encode())[code.encode()], "the search of a raw card does not find the code"
    lived.power()
    lived.say("recovery: the code is on the card, power on")
    lived.board.until(lived.board.open, "SSH to answer", LONG, 1.0)
    lived.say(f"recovery: a first boot is over {lived.board.age():.0f} s after power on")
    assert not lived.board.reached(), "the key of the owner before still opens the device"
    fresh = lived.factory.workshop.passwords(lived.card.file(SEALED))
    lived.say(f"recovery: sealed to the workshop: {', '.join(sorted(fresh))}; the key of before is refused")
    assert fresh["recovery/code"] != code and fresh[f"linux_account/{USER}"] != password
    public = lived.factory.key.with_suffix(".pub").read_text().strip()
    with lived.board.keyboard() as keyboard:
        assert not keyboard.login(USER, password)
        assert not keyboard.login("root", lived.factory.lab_password)
        assert keyboard.login(USER, fresh[f"linux_account/{USER}"])
        keyboard.type(f"mkdir -p ~/.ssh; echo '{public}' > ~/.ssh/authorized_keys; chmod -R go= ~/.ssh; exit")
        keyboard.until("login: ")
    lived.say("recovery: at the console the old passwords are refused, the new one opens; the owner lays a new key")
    lived.password = fresh[f"linux_account/{USER}"]
    lived.board.until(lived.board.reached, "the new key to open the device", LONG, 1.0)
    told = [row["text"] for row in lived.status()["warnings"] if "recovery file" in row["text"].lower()]
    lived.say(f"recovery: announced: {told!r}")
    assert told
    off = {name for name, status in lived.statuses().items() if status not in {"ok", "absent"}}
    assert off <= {"ssh.authorized_keys"}, off
    assert lived.root("privet", "send", "temperature=19").returncode != 0, "a consent of the owner before still counts"
    lived.say(lived.must("privet", "journal", "--verify").strip())
    lived.linked()
    lived.switch_off()
    assert FILE not in lived.card.boot_files()
    assert not lived.card.found(code.encode())[code.encode()]
    lived.say("recovery: private, still its fleet's device; the raw card holds the code no more")
