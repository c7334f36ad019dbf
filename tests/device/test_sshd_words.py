"""Lines of sshd_config written in odd ways: we cut each into the very words that the real sshd does."""

import json
from itertools import product

from tests.device.lab import Device

KEYWORDS = (
    "AuthorizedKeysFile",
    '"AuthorizedKeysFile"',
    'Authorized"KeysFile"',
    "\t AUTHORIZEDKEYSFILE",
    "= AuthorizedKeysFile",
)
BETWEEN = (" ", "=", "  = ", '"" ', '" " ')
VALUES = (
    ".ssh/a", '".ssh/a b"', ".ssh/a .ssh/b", ".ssh/a#c", ".ssh/a #c", "'.ssh/q'", '.ssh/\\"a', ".ssh/a\\ b", '"a"b',
    'a"b c"d', ".ssh/a\\\\b", '"#x"', "a\\#b", "'a\"b'", "a\vb", "a\fb", "a\f", "a = b", "=a", '"=a"',
)  # fmt: skip
TRY = """
import json, subprocess, sys
from agent.providers.linux.sshd_option.words import arguments, statement
told = []
for line in json.loads(sys.argv[1]):
    with open("/tmp/words.conf", "w") as file:
        file.write(line + "\\n")
    done = subprocess.run(("/usr/sbin/sshd", "-T", "-f", "/tmp/words.conf"), capture_output=True)
    said = [row for row in done.stdout.decode().split("\\n") if row.startswith("authorizedkeysfile ")]
    keyword, rest = statement(line)
    ours = "authorizedkeysfile " + " ".join(arguments(rest)) if keyword == "authorizedkeysfile" else ""
    told.append([line, said[0] if done.returncode == 0 and said else None, ours])
print(json.dumps(told))
"""


def test_every_line_is_cut_as_sshd_cuts_it(device: Device) -> None:
    """A place of keys that sshd reads is one that we look into, however its line is written."""
    device.must(["mkdir", "-p", "/run/sshd"])
    lines = ["".join(parts) for parts in product(KEYWORDS, BETWEEN, VALUES)]
    taken = [(line, real, ours) for line, real, ours in device.ask(TRY, json.dumps(lines)) if real is not None]
    assert len(taken) > 200
    assert [row for row in taken if row[1] != row[2]] == []
