"""`privet-fleet` answers people in plain words and programs in JSON, and ends with the exit code of what happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.cli.main import VERBS, cli
from provisioning.fleet.identity import Fleet
from provisioning.profile.sign import payload_of, verify

BASE = """
model = "base"
title = "A device"
support_until = 2040-01-01
channels = ["syslog"]
[queue]
size = "1 MiB"
[[purpose]]
id = "climate"
title = "Climate"
text = "Shows how warm it is."
recipients = ["collector"]
retention_days = 30
[[field]]
name = "temperature"
title = "Temperature"
unit = "Cel"
purpose = "climate"
precision = "0.5"
low = "-40"
high = "85"
bucket = "1m"
[[recipient]]
id = "collector"
name = "Home"
country = "DE"
"""


class House:
    """A fleet and its profiles in one directory, asked through the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = folder / "fleet"
        self.profiles = folder / "profiles"
        self.profiles.mkdir()
        self.put("base", BASE)

    def put(self, model: str, text: str) -> None:
        """Write a profile."""
        (self.profiles / f"{model}.toml").write_text(text)

    def ask(self, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Run the command; return exit code, output, error output."""
        result = CliRunner().invoke(cli, words, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    def told(self, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        """Run the command with --json and return its answer."""
        code, out, err = self.ask(*words, "--json", stdin=stdin)
        answer: dict[str, Any] = json.loads(out)
        assert answer["ok"] == (code == 0), err
        return answer


@pytest.fixture
def empty(tmp_path) -> House:
    """Profiles, no fleet."""
    return House(tmp_path)


@pytest.fixture
def house(empty: House) -> House:
    """Profiles and a fleet without a passphrase."""
    empty.told("init", "--fleet", str(empty.fleet), "--no-passphrase", "--name", "garden", "--broker", "broker.example")
    return empty


def with_both(house: House) -> tuple[str, ...]:
    """Return the options that name fleet and profiles."""
    return "--fleet", str(house.fleet), "--profiles", str(house.profiles)


def test_init_makes_a_closed_fleet(house):
    """The directory is the owner's alone, and a second init changes nothing."""
    assert house.fleet.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in house.fleet.iterdir())
    before = (house.fleet / "signing.key").read_bytes()
    code, _, err = house.ask("init", "--fleet", str(house.fleet), "--no-passphrase")
    assert (code, "already holds a fleet" in err) == (77, True)
    assert (house.fleet / "signing.key").read_bytes() == before


def test_init_without_a_terminal_wants_to_know_about_the_passphrase(empty):
    """Keys without a passphrase are a choice somebody has to make; nothing is left behind."""
    code, _, err = empty.ask("init", "--fleet", str(empty.fleet))
    assert (code, "--no-passphrase" in err) == (77, True)
    assert not empty.fleet.exists()


def by_descriptor(text: bytes) -> str:
    """Return the number of a descriptor from which a passphrase can be read."""
    reading, writing = os.pipe()
    os.write(writing, text + b"\n")
    os.close(writing)
    return str(reading)


def test_a_fleet_with_a_passphrase_opens_with_it_alone(empty):
    """It comes by a file descriptor, never by an argument; the keys on the disk are encrypted."""
    where = ("--fleet", str(empty.fleet))
    right, wrong = b"correct horse battery", b"wrong horse battery"
    assert empty.ask("init", *where, "--passphrase-fd", by_descriptor(right))[0] == 0
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (empty.fleet / "signing.key").read_bytes()
    assert empty.ask("recipient", "add", "clinic", *where, "--passphrase-fd", by_descriptor(right))[0] == 0
    code, _, err = empty.ask("recipient", "add", "bank", *where, "--passphrase-fd", by_descriptor(wrong))
    assert (code, "passphrase" in err) == (77, True)
    code, _, err = empty.ask("recipient", "add", "bank", *where)
    assert (code, "nobody is at the terminal" in err) == (77, True)
    assert empty.ask("init", "--fleet", str(empty.folder / "b"), "--passphrase-fd", by_descriptor(b"short"))[0] == 77


@pytest.mark.parametrize("broker", ["a:b", "a:0", "a:65536", "a:"])
def test_init_refuses_a_broker_that_is_none(empty, broker):
    """The slip is found before keys are made."""
    code, _, err = empty.ask("init", "--fleet", str(empty.fleet), "--no-passphrase", "--broker", broker)
    assert (code, "no host and port" in err, empty.fleet.exists()) == (65, True, False)


def test_compile_signs_and_counts(house):
    """Each policy has the next number, is signed by the fleet, and carries what the fleet knows."""
    answers = [house.told("profile", "compile", "base", *with_both(house)) for _ in range(2)]
    assert [one["sequence"] for one in answers] == [1, 2]
    key = Fleet.open(house.fleet).policy_key()
    made = cbor2.loads(verify(Path(answers[1]["policy"]).read_bytes(), (key,)))
    assert (made["fleet"], made["broker"]) == ("garden", {"host": "broker.example", "port": 8883})
    assert made["recipients"][0]["key"] == (house.fleet / "recipient-collector.pub").read_bytes()


def test_compile_works_without_the_recipients_private_key(house):
    """The key that opens telemetry can live elsewhere."""
    (house.fleet / "recipient-collector.key").unlink()
    assert house.told("profile", "compile", "base", *with_both(house))["sequence"] == 1


def test_compile_says_what_it_loosens(house):
    """A looser policy is announced while it is made."""
    house.told("profile", "compile", "base", *with_both(house))
    house.put("base", BASE.replace("retention_days = 30", "retention_days = 60"))
    answer = house.told("profile", "compile", "base", *with_both(house))
    assert [one["text"] for one in answer["looser"]] == ['"Climate" is kept for 60 days instead of 30.']


def test_check_names_file_line_and_fix_for_all_profiles(house):
    """Every fault of every profile, exit code 65; a sound one passes."""
    house.put("other", 'model = "other"\ntitle = "T"\ninherits = "base"\nfoo = 1\n')
    code, out, _ = house.ask("profile", "check", "--profiles", str(house.profiles))
    assert (code, "other.toml:4:" in out, out.count("✓")) == (65, True, 1)
    code, out, _ = house.ask("profile", "check", "base", "--profiles", str(house.profiles))
    assert (code, out.count("✓")) == (0, 1)


def test_explain_shows_the_notice(house):
    """What an owner will be asked to agree to is shown in the same words."""
    _, out, _ = house.ask("profile", "explain", "base", "--profiles", str(house.profiles))
    assert "Collected: Temperature (temperature), in steps of 0.5 °C" in out
    assert "\x1b[" not in out


def test_diff_takes_profiles_and_policies(house):
    """A signed policy can be compared with the profile it came from: nothing differs."""
    policy = house.told("profile", "compile", "base", *with_both(house))["policy"]
    where = ("--profiles", str(house.profiles))
    assert house.told("profile", "diff", policy, "base", *where)["differences"] == []
    house.put("cold", 'model = "cold"\ntitle = "T"\ninherits = "base"\n[without]\nfields = ["temperature"]\n')
    found = house.told("profile", "diff", "base", "cold", *where)["differences"]
    assert [one["direction"] for one in found] == ["stricter"]
    code, out, _ = house.ask("profile", "diff", "cold", "base", *where)
    assert (code, "1 looser" in out) == (0, True)


def test_schema_is_json(house):
    """Editors get a JSON Schema."""
    code, out, _ = house.ask("profile", "schema")
    assert (code, json.loads(out)["$schema"].startswith("https://json-schema.org/")) == (0, True)


def request_of(name: str) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """Make a key and a certificate request, as a device does."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM), key


def test_device_add_makes_what_is_flashed(house):
    """Seed facts, policy, and a certificate for the key of the request under the name that the fleet gives."""
    request, key = request_of("somebody")
    answer = house.told("device", "add", "porch", "--csr", "-", *with_both(house), stdin=request)
    folder = Path(answer["directory"])
    facts = cbor2.loads((folder / "etc/privet/device.cbor").read_bytes())
    assert (facts["fleet"], facts["class"], facts["device"]) == ("garden", "base", "porch")
    assert verify((folder / "etc/privet/policy.cbor").read_bytes(), tuple(facts["policy_keys"]))
    certificate = x509.load_pem_x509_certificate((folder / "var/lib/privet-courier/cert.pem").read_bytes())
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=porch"
    code, _, _ = house.ask("device", "add", "porch", *with_both(house))
    assert code == 77


def test_devices_of_one_class_share_a_policy_until_the_profile_changes(house):
    """A thousand devices do not make a thousand policies."""
    first, second = (Path(house.told("device", "add", *with_both(house))["directory"]) for _ in range(2))
    policy = "etc/privet/policy.cbor"
    assert first.name != second.name
    assert (first / policy).read_bytes() == (second / policy).read_bytes()
    house.put("base", BASE.replace("retention_days = 30", "retention_days = 29"))
    third = Path(house.told("device", "add", *with_both(house))["directory"])
    assert payload_of((third / policy).read_bytes())["sequence"] == 2


def test_a_bad_request_is_one_sentence(house):
    """Garbage in place of a certificate request changes nothing."""
    code, out, _ = house.ask("device", "add", "porch", "--csr", "-", *with_both(house), "--json", stdin=b"garbage")
    assert (code, json.loads(out)["code"]) == (65, 65)
    assert not (house.fleet / "devices").exists()


def test_recipients_can_be_added_once(house):
    """The second time is refused."""
    assert house.ask("recipient", "add", "clinic", "--fleet", str(house.fleet))[0] == 0
    assert house.ask("recipient", "add", "clinic", "--fleet", str(house.fleet))[0] == 77
    assert house.ask("recipient", "add", "../x", "--fleet", str(house.fleet))[0] == 65


def test_broker_config_shows_mutual_tls(house):
    """The very configuration that would run."""
    files = house.told("broker", "config", "--fleet", str(house.fleet))["files"]
    assert "require_certificate true" in files["mosquitto.conf"]
    assert "user service.collector" in files["access.conf"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("profile", "compile", "base", "--fleet", "nowhere"), 66),
        (("profile", "explain", "nowhere/x.toml"), 66),
        (("profile", "diff", "nowhere.cbor", "nowhere.cbor"), 66),
        (("device", "add", "--fleet", "nowhere"), 66),
        (("nonsense",), 2),
        (("profile", "compile", "--days", "0", "base"), 2),
    ],
)
def test_errors_are_one_sentence_with_their_own_exit_code(empty, words, code):
    """No traceback, and nothing on standard output."""
    got, out, err = empty.ask(*words)
    assert (got, out) == (code, "")
    assert "Traceback" not in err


def test_every_verb_has_help_with_an_example(empty):
    """--help of each verb and of each verb below it shows how it is used."""
    pages = [("profile", "check"), ("profile", "compile"), ("device", "add"), ("broker", "up"), ("recipient", "add")]
    for words in [(), *((name,) for name in VERBS), *pages]:
        code, out, _ = empty.ask(*words, "--help")
        assert (code, out[:6]) == (0, "Usage:"), words
        assert "xample" in out or "Commands:" in out, words


def test_help_and_errors_load_nothing_heavy():
    """The command starts without pydantic, cryptography, rich or paho; a verb pays for what it uses."""
    program = (
        "import sys; from provisioning.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'pydantic', 'cryptography', 'rich', 'paho', 'cbor2'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(empty, shell):
    """For the shells people use."""
    code, out, _ = empty.ask("completion", shell)
    assert (code, "_PRIVET_FLEET_COMPLETE" in out) == (0, True)
