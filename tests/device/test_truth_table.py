"""The truth table: what the agent says of SSH beside what a real login through a real server shows."""

import json
from collections.abc import Callable

import pytest

from tests.device.lab import Device, Lab
from tests.device.verdicts import CONFINED, ENFORCE, LATER, Verdict, verdict

MAIN = "/etc/ssh/sshd_config"
DROP = "/etc/ssh/sshd_config.d"
INCLUDE = f"Include {DROP}/*.conf\n"
State = Callable[[Device], None]


def root_no(device: Device) -> None:
    """S0: the main file says no."""
    device.write(MAIN, f"{INCLUDE}PermitRootLogin no\nUsePAM yes\n")
    device.sshd(later=LATER)


def root_drop_in(device: Device) -> None:
    """S1: the main file says no, a drop-in says yes and is read first."""
    device.write(f"{DROP}/10-mine.conf", "PermitRootLogin yes\n")
    root_no(device)


def root_match_address(device: Device) -> None:
    """S2: no, but a Match Address block says yes."""
    device.write(MAIN, f"{INCLUDE}PermitRootLogin no\nUsePAM yes\nMatch Address 127.0.0.0/8\n  PermitRootLogin yes\n")
    device.sshd(later=LATER)


def root_drop_in_no(device: Device) -> None:
    """S3: the main file says yes, a drop-in says no and wins."""
    device.write(f"{DROP}/10-mine.conf", "PermitRootLogin no\n")
    device.write(MAIN, f"{INCLUDE}PermitRootLogin yes\nUsePAM yes\n")
    device.sshd(later=LATER)


def root_other_include(device: Device) -> None:
    """S4: a second Include directory says yes."""
    device.write("/etc/ssh/more.d/a.conf", "PermitRootLogin yes\n")
    device.write(MAIN, f"{INCLUDE}Include more.d/*.conf\nPermitRootLogin no\nUsePAM yes\n")
    device.sshd(later=LATER)


def root_command_line(device: Device) -> None:
    """S5: the file says no, the server was started with -o yes."""
    device.write(MAIN, f"{INCLUDE}PermitRootLogin no\nUsePAM yes\n")
    device.sshd("-o", "PermitRootLogin=yes", later=LATER)


def root_not_reloaded(device: Device) -> None:
    """S6: the file was changed to no, the server was not told."""
    device.write(MAIN, f"{INCLUDE}PermitRootLogin yes\nUsePAM yes\n")
    device.sshd(later=LATER)
    device.write(MAIN, f"{INCLUDE}PermitRootLogin no\nUsePAM yes\n")


SEVEN: tuple[State, ...] = (
    root_no,
    root_drop_in,
    root_match_address,
    root_drop_in_no,
    root_other_include,
    root_command_line,
    root_not_reloaded,
)
TRUTH = (False, True, True, False, True, True, True)  # what the login showed; measured again in each run


def by_files_alone(device: Device) -> bool:
    """Say what a reader of plain `sshd -T` says: is the door of root open?"""
    lines = device.must(["/usr/sbin/sshd", "-T"]).splitlines()
    return "permitrootlogin no" not in lines


@pytest.mark.parametrize("confined", [(), CONFINED], ids=["all powers", "few powers"])
def test_seven_states(lab: Lab, capsys: pytest.CaptureFixture[str], confined: tuple[str, ...]) -> None:
    """In 7 of 7 states our cold verdict is what a real root login shows; plain `sshd -T` is wrong in at least 3."""
    rows: list[tuple[str, bool, Verdict, bool]] = []
    for state in SEVEN:
        with lab.device() as device:
            key = device.key("root")
            state(device)
            told = verdict(device, "ssh.root", confined)
            twin = by_files_alone(device)
            rows.append((str(state.__doc__), device.login("root", key=key), told, twin))
    with capsys.disabled():
        print()
        for text, truth, told, twin in rows:
            said = "let in" if truth else "refused"
            wrong = "" if twin == truth else "  (sshd -T alone: wrong)"
            print(f"  {text:70} root {said:8} Privet: {told.status}{wrong}\n      {told.cause}")
    assert tuple(truth for _, truth, _, _ in rows) == TRUTH, "a state of the table did not come about"
    assert [told.status == "loosened" for _, _, told, _ in rows] == list(TRUTH)
    assert [told.status == "ok" for _, _, told, _ in rows] == [not truth for truth in TRUTH]
    assert sum(twin != truth for _, truth, _, twin in rows) >= 3


@pytest.mark.parametrize("state", [s for s, truth in zip(SEVEN, TRUTH, strict=True) if truth])
def test_enforcing_shuts_the_door(device: Device, state: State) -> None:
    """After the steps the same key no longer enters, the verdict is ok, and a second time nothing is left to do."""
    key = device.key("root")
    state(device)
    assert device.login("root", key=key)
    live, kept, cause, settled = device.ask(ENFORCE, "ssh.root", json.dumps("no"))
    assert (live, kept, settled) == ("no", "no", True), cause
    assert not device.login("root", key=key)
    assert verdict(device, "ssh.root").status == "ok"
