"""The states of the truth table: what each does to a fresh device, how it is tried, and whom else it is put before.

They are data: one TOML file per area in this folder. `do` is a script that somebody with root's rights might have run
on the device; `again`, where a state has it, is what the next start of the device would run. `try` names the behaviour
that settles it (`behaviour.py`), and `open` is what was seen when the state was written: it is tried anew each time.
"""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What the scripts share: the main file as Debian orders it, any file, a server, and a server started anew.
PRELUDE = """
set -e
put() { name=$1; shift; mkdir -p "${name%/*}"; printf '%s\\n' "$@" >"$name"; }
main() {
  put /etc/ssh/sshd_config 'Include /etc/ssh/sshd_config.d/*.conf' 'UsePAM yes' 'KbdInteractiveAuthentication no' "$@"
}
server() {
  /usr/sbin/sshd "$@"
  case "$*" in *-f*) ;; *) while [ ! -s /run/sshd.pid ]; do :; done ;; esac
}
gone() { while pgrep -x "$1" >/dev/null; do :; done; }
restart() { pkill -x sshd || true; gone sshd; server "$@"; }
rule() { put /etc/sudoers.d/010_pi-nopasswd "$@"; chmod 440 /etc/sudoers.d/010_pi-nopasswd; }
broker() {
  pkill -x mosquitto || true; gone mosquitto; chown mosquitto: /run/mosquitto
  mosquitto -d -c /etc/mosquitto/mosquitto.conf
}
enforce() {
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/privet:/opt/site-packages /usr/bin/python3 /run/enforce.py "$@" >/dev/null
}
quiet() { put /etc/mosquitto/mosquitto.conf 'persistence false' "$@"; }
"""


@dataclass(frozen=True)
class Asked:
    """What a scanner is asked: the ids of its tests, and the marks in its report that mean open."""

    ids: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """One state of a device, and the question that is asked about it."""

    area: str
    name: str
    settings: tuple[str, ...]
    behaviour: str
    open: bool
    do: str
    again: str = ""
    before: str = ""
    where: dict[str, str | int] = field(default_factory=dict)
    lynis: Asked = Asked()
    openscap: str = ""

    def digest(self) -> str:
        """Return what changes with everything the state is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def loaded() -> tuple[State, ...]:
    """Read every state; what a file says at its top holds for those of its states that say nothing else."""
    found: list[State] = []
    for path in sorted(HERE.glob("*.toml")):
        text = tomllib.loads(path.read_text(encoding="utf-8"))
        common = {key: value for key, value in text.items() if key != "state"}
        for own in text["state"]:
            one = {**common, **own}
            asked = Asked(tuple(one.get("lynis", ())), tuple(one.get("lynis_marks", ())))
            found.append(
                State(
                    path.stem, one["name"], tuple(one["settings"]), one["try"], one["open"], one["do"],
                    one.get("again", ""), one.get("before", ""), one.get("where", {}), asked, one.get("openscap", ""),
                )
            )  # fmt: skip
    names = [(state.area, state.name) for state in found]
    assert len(names) == len(set(names)), "two states have one name"
    return tuple(found)
