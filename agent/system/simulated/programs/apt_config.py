"""apt's configuration as apt-config tells it: files by name, the last value counts; of the syntax only plain lines."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system.door import Outcome
from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

FOLDER, MAIN = "/etc/apt/apt.conf.d", "/etc/apt/apt.conf"


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Do `apt-config shell NAME key …`."""
    found: dict[str, str] = {}
    try:
        names = device.entries(FOLDER)
    except Missing:
        names = ()
    paths = [f"{FOLDER}/{name}" for name in names]
    for path in [*paths, MAIN]:  # the main file comes last
        for line in products.text(device, path).splitlines():
            key, blank, value = line.strip().partition(" ")
            if blank and value.endswith(";") and not key.startswith("//"):
                found[key.lower()] = value.rstrip(";").strip('"')
    pairs = zip(argv[2::2], argv[3::2], strict=True)
    text = "".join(f"{name}='{found[key.lower()]}'\n" for name, key in pairs if key.lower() in found)
    return Outcome(code=0, out=text.encode(), err=b"")
