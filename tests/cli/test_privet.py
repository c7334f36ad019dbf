"""The `privet` command as a person uses it: real sockets, the real guard, a simulated device behind them."""

import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli import show
from agent.cli.main import main
from agent.core.role import OWNER, YEAR
from tests.guard.conftest import Kept


class Running:
    """A guard in a thread of its own, listening in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.over = threading.Event()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        assert self.ready.wait(30)

    def serve(self) -> None:
        """Start, listen, turn until told to stop."""
        kept = Kept(self.folder)
        house = kept.start()
        if os.getuid() != 0:
            review = kept.system.wall + YEAR - 1
            house.books.store.put({"grants": [{"principal": f"uid:{os.getuid()}", "role": OWNER, "review_by": review}]})
            kept.stop()
            house = kept.start()
        house.listen(str(self.folder), os.getuid(), -1)
        self.ready.set()
        while not self.over.is_set():
            house.turn(0.05)
        kept.stop()

    def privet(self, *words: str, said: str = "") -> Result:
        """Run the command."""
        return CliRunner().invoke(main, list(words), input=said, env={"PRIVET_RUN": str(self.folder)})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One device for the module."""
    made = Running(tmp_path_factory.mktemp("privet"))
    yield made
    made.over.set()
    made.thread.join()


def test_nobody_there_to_say_yes(running: Running) -> None:
    """Asked with nobody to answer, as from a script, it says so and how to agree beforehand; nothing changes."""
    for words in (("loosen", "ssh.password", "yes", "--for", "2h", "--reason", "x"), ("erase", "--all")):
        told = running.privet(*words)
        assert (told.exit_code, "Aborted" in told.output) == (77, False)
        assert "nobody answered, so nothing was changed; to agree without being asked, add --yes" in told.output
    no = running.privet("erase", "--all", said="n\n")
    assert (no.exit_code, "Nothing was changed." in no.output) == (0, True)


def test_status_says_private(running: Running) -> None:
    """For a person and for a program."""
    told = running.privet("status")
    assert told.exit_code == 0, told.output
    assert "Private: all" in told.output
    assert "places (now, and after a restart); all of them were read." in told.output
    rows = json.loads(running.privet("status", "--json").output)["findings"]
    assert {r["status"] for r in rows} <= {"ok", "absent"}


def test_explain_and_unknown_names(running: Running) -> None:
    """What it is and what may follow; a wrong name is one sentence with its own exit code."""
    told = running.privet("explain", "ssh.password")
    assert "guess" in told.output
    assert "EN303645" in told.output
    wrong = running.privet("explain", "ssh.colour")
    assert wrong.exit_code == 14
    assert "privet status lists them" in wrong.output
    assert "Traceback" not in wrong.output


def test_loosen_asks_and_takes_no_for_an_answer(running: Running) -> None:
    """The risk comes first; no is no; yes opens; tighten shuts."""
    words = ("loosen", "ssh.password", "yes", "--for", "2h", "--reason", "copying a backup")
    refused = running.privet(*words, said="n\n")
    assert "guess" in refused.output
    assert "Nothing was changed" in refused.output
    assert "allowed" not in running.privet("status").output
    agreed = running.privet(*words, said="y\n")
    assert "Done" in agreed.output, agreed.output
    told = running.privet("status").output
    assert "copying a backup" in told
    assert "another 1 h 59 min" in told or "another 2 h" in told
    assert "private" in running.privet("tighten", "ssh.password").output
    assert "copying a backup" not in running.privet("status", "--json").output.split('"warnings"')[0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("loosen", "ssh.password", "yes", "--for", "soon", "--reason", "x"), 65),
        (("loosen", "ssh.password", "perhaps", "--for", "2h", "--reason", "x"), 65),
        (("loosen", "ssh.password", "yes", "--for", "99d", "--reason", "x", "--yes"), 65),
        (("loosen", "ssh.password", "no", "--for", "2h", "--reason", "x", "--yes"), 65),
        (("consent", "give", "everything"), 65),
        (("send", "temperature"), 65),
        (("send", "temperature=21.5"), 16),
        (("send", "colour=1"), 15),
    ],
)
def test_every_refusal_is_one_sentence_with_its_code(running: Running, words: tuple[str, ...], code: int) -> None:
    """Nothing changes, nobody sees a traceback."""
    running.privet("consent", "withdraw", "climate")
    told = running.privet(*words)
    assert told.exit_code == code, told.output
    assert len([line for line in told.output.splitlines() if line.startswith("privet: ")]) == 1


def test_notice_consent_send(running: Running) -> None:
    """Shown, agreed to, sent."""
    assert "off: you were not asked" in running.privet("notice").output or "withdrew" in running.privet("notice").output
    assert "Do you agree?" in running.privet("consent", "give", "climate", said="y\n").output
    assert "Kept for sending: 2" in running.privet("send", "temperature=21.5", "humidity=48").output
    assert running.privet("send", "temperature=warm").exit_code == 65


def test_journal_and_credentials(running: Running) -> None:
    """The record is sound; the new password comes once."""
    assert "sound" in running.privet("journal", "--verify").output
    assert "provisioned" in running.privet("journal").output
    shown = running.privet("credentials", "show", "--once").output
    assert "linux_account/pi: " in shown and "the new password of the account pi" in shown
    assert "recovery/code: " in shown and "the way back in" in shown
    assert "Nothing is waiting" in running.privet("credentials", "show", "--once").output
    assert running.privet("enforce").exit_code == 0


def test_without_a_guard_it_says_how_to_start_it(tmp_path: Path) -> None:
    """No guard: one sentence, exit code 69."""
    told = CliRunner().invoke(main, ["status"], env={"PRIVET_RUN": str(tmp_path)})
    assert told.exit_code == 69
    assert "systemctl start privet-guard" in told.output


def test_confirm_says_that_nothing_is_on_trial(running: Running) -> None:
    """One sentence and the exit code of a refusal; a forged process number changes nothing."""
    told = running.privet("confirm")
    assert told.exit_code == 77, told.output
    assert "nothing to confirm" in told.output


def test_status_says_what_could_not_be_read() -> None:
    """In words, beside what was looked at; there is no score."""
    count = {"here": 40, "places": 80, "judged": 77, "unknown": 3, "absent": 2}
    assert show.covered(count) == (
        "Looked at 40 settings in 80 places (now, and after a restart); 3 of them could not be read."
        " 2 more are about what is not on this device (privet status --all)."
    )


def test_status_shows_a_change_on_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """With the time that is left, and how to keep it."""
    show.trial({"trial": {"title": "Who may knock on this device", "remaining": 125, "setting": "firewall.inbound"}})
    said = capsys.readouterr().out
    assert "On trial for another 2 min 5 s: Who may knock on this device" in said
    assert "sudo privet confirm" in said
    show.trial({"trial": None})
    assert capsys.readouterr().out == ""


def test_status_names_what_is_not_here_only_when_asked(running: Running) -> None:
    """The owner reads about what the device has; all else is counted, and named with --all."""
    short, long = running.privet("status").output, running.privet("status", "--all").output
    assert "not here" not in short
    assert "(privet status --all)" in short
    assert long.count("not here") >= 5


def test_preview_ledger_and_export(running: Running, tmp_path: Path) -> None:
    """What would leave, what has left, and everything in one file that nobody else reads."""
    assert running.privet("send", "colour=7").exit_code == 15
    assert "Readings that did not leave as they were measured: " in running.privet("status").output
    assert " reading(s) of fields that are not declared." in running.privet("notice").output
    running.privet("consent", "give", "climate", said="y\n")
    told = running.privet("preview", "temperature=21.537")
    assert told.exit_code == 0, told.output
    assert "temperature = 21.5 Cel" in told.output
    assert "It would not leave" not in told.output
    assert json.loads(running.privet("preview", "temperature=21.537", "--json").output)["messages"][0]["digest"]
    running.privet("send", "temperature=21.5")
    assert "sealed to collector" in running.privet("journal", "--egress").output
    rows = json.loads(running.privet("journal", "--egress", "--json").output)
    assert rows[-1]["lines"][-1]["bytes"] > 0
    file = tmp_path / "everything.zip"
    told = running.privet("export", str(file))
    assert told.exit_code == 0, told.output
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {
        "README.txt", "settings.json", "policy.json", "consents.json", "consents.jsonld", "deletions.json",
        "telemetry.json", "egress.jsonl", "journal.jsonl", "withheld.json",
    }  # fmt: skip
    assert all(name in files["README.txt"] for name in files if name != "README.txt")
    records = {r["dct:identifier"].split(":")[-2]: r for r in json.loads(files["consents.jsonld"])}
    assert records["climate"]["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentGiven"
    assert records["warnings"]["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentUnknown"
    assert "undeclared" in [row["reason"] for row in json.loads(files["withheld.json"])["rows"]]
    assert len(files["journal.jsonl"].splitlines()) > 10
    again = running.privet("export", str(file))
    assert (again.exit_code, "choose another name" in again.output) == (65, True)
    assert running.privet("export", str(tmp_path / "no" / "where.zip")).exit_code != 0


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """No guard: no file either."""
    file = tmp_path / "everything.zip"
    told = CliRunner().invoke(main, ["export", str(file)], env={"PRIVET_RUN": str(tmp_path)})
    assert told.exit_code == 69
    assert not file.exists()


def test_status_says_what_is_still_being_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither private nor a fault: unknown is never a pass, and nobody is called to attend to it."""
    row = {"setting": "a.b", "title": "Passwords", "found": "not known", "wanted": "nothing", "status": "unknown"}
    row |= {"cause": "the password of pi is still being compared", "waits_for": "answer"}
    link = {"state": "offline", "cause": ""}
    answer = {"findings": [row], "age": 1, "waivers": [], "warnings": [], "link": link}
    show.status(answer)
    said = capsys.readouterr().out
    assert "Still being checked: 1 setting; " in said and "the password of pi is still" in said
    assert "Private: all" not in said and "attention" not in said
    show.status({**answer, "findings": [{**row, "status": "loosened", "waits_for": "restart"}]})
    said = capsys.readouterr().out
    assert "Private from the next start on: 1 setting. Please restart (sudo reboot)." in said
    assert "Private: all" not in said and "attention" not in said
    show.status({**answer, "findings": [{**row, "waits_for": ""}]})
    assert "1 of 1 setting needs your attention" in capsys.readouterr().out


def test_the_reason_is_asked_for(running: Running) -> None:
    """What a warning says to type has no reason in it: then it is asked for, and kept."""
    told = running.privet("loosen", "ssh.password", "yes", "--for", "2h", said="y\nmy printer\n")
    assert told.exit_code == 0 and "Why, in a few words?" in told.output, told.output
    assert "my printer" in running.privet("status").output
    running.privet("tighten", "ssh.password")
    silent = running.privet("loosen", "ssh.password", "yes", "--for", "2h", "--yes")
    assert (silent.exit_code, "say it with --reason" in silent.output) == (65, True)
    assert not json.loads(running.privet("status", "--json").output)["waivers"]


@pytest.mark.parametrize("words", [("ssh.password", "no", "--for", "2h"), ("ssh.password", "yes", "--for", "99d")])
def test_no_risk_is_shown_for_what_cannot_be(running: Running, words: tuple[str, ...]) -> None:
    """What is private already, or is asked for too long, is refused before its risk frightens anybody."""
    told = running.privet("loosen", *words, "--reason", "x", "--yes")
    assert (told.exit_code, told.output.count("\n"), "You are about" in told.output) == (65, 1, False)


def test_words_and_times_of_people(running: Running, zone: str) -> None:
    """Times are local ones, an entry of several lines stands below itself, spans are said in hours."""
    assert zone == "<+05>-5"
    running.privet("loosen", "ssh.password", "yes", "--for", "2h", "--reason", "x", "--yes")
    told, rows = running.privet("status").output, running.privet("journal").output
    running.privet("tighten", "ssh.password")
    line = next(line for line in told.splitlines() if "Allowed by" in line)
    assert "UTC" not in line and "until 2026-01-01 07:0" in line, "the device says 02:0x UTC"
    assert "left=2 h" in next(line for line in rows.splitlines() if " waiver " in line)
    warned = rows.partition("allowed to be yes for a while")[2].splitlines()[1]
    assert warned.startswith(" " * 26 + "Anyone who can reach")


@pytest.fixture
def zone() -> Iterator[str]:
    """Live five hours east of Greenwich for a test."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "<+05>-5"
    time.tzset()
    yield os.environ["TZ"]
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()
