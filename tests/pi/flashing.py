"""The fleet's workshop: our own command builds the image, plans the device, writes its card, and gives certificates."""

import json
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.core.cose import EDDSA, split_sign1
from agent.core.seed import read_seed
from agent.core.slot import MOST, decode_half, halves
from tests.house import ROOT

LINES = "dtparam=watchdog=on"  # a line for config.txt, as a maker of cameras would add
# The story sits down at the serial port, which the base keeps shut; the workshop can open what first boot made.
BENCH = """\
model = "bench"
title = "The private base, with a login on the serial port"
inherits = "base"

[settings]
"serial.console" = { value = "login", reason = "Whoever tests it sits at this port." }

[recovery]
recipient = "workshop"
"""


class Workshop:
    """`privet-fleet` for the fleet in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profiles = folder / "profiles"
        self.image = folder / "fleet.img"

    def argv(self, *words: str) -> list[str]:
        """Return the argument vector of the command."""
        return [sys.executable, "-m", "provisioning.cli", *words, "--json"]

    def ours(self, *words: str) -> list[str]:
        """Return words with those that name this fleet."""
        return [*words, "--fleet", str(self.folder / "fleet")]

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run the command; return its answer."""
        done = subprocess.run(self.argv(*words), cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != code:
            raise RuntimeError(f"privet-fleet {words} ended with {done.returncode}: {done.stdout}{done.stderr[-2000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def scanned(self, image: Path) -> int:
        """Look for what all devices of an image would share; return how much of it is grave."""
        return int(self.run("image", "scan", str(image), code=1)["grave"])

    def build(self, base: Path, deb: Path) -> str:
        """Build the fleet's image; return what there is to tell."""
        if not self.profiles.exists():
            self.profiles.mkdir()
            shutil.copy(ROOT / "device_profiles" / "base.toml", self.profiles)
            (self.profiles / "bench.toml").write_text(BENCH, encoding="ascii")
        words = ["image", "build", str(base), "--package", str(deb), "-o", str(self.image), "--config-line", LINES]
        made = self.run(*self.ours(*words, "--profiles", str(self.profiles), "--profile", "bench"))
        return f"image build: {made['layout']}, {made['files']} files, {made['mapped'] >> 20} MiB hold something"

    def batch(self, enrol: str) -> tuple[str, dict[str, bytes]]:
        """Plan one device; return its id, and what of its seed is secret."""
        words = ["--count", "1", "--enrol", enrol, "--profiles", str(self.profiles), "--profile", "bench"]
        made = self.run(*self.ours("batch", "create", *words))
        (device,) = made["devices"]
        slot = (Path(made["directory"]) / f"{device}.slot").read_bytes()
        message = split_sign1(decode_half(halves(slot)[0]).message, MOST, EDDSA)
        token = read_seed(message.payload).token.reveal()
        texts = {"token in hex": token.hex().encode(), "token in base64": b64encode(token)[:40]}
        return device, {"token": token, "signature": message.signature, **texts}

    def flash(self, card: Path) -> str:
        """Write the device's card; return what there is to tell."""
        done = self.run(*self.ours("flash", str(self.image), "--to", str(card), "--batch", "1"))
        (one,) = done["cards"]
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one["stages"].items())
        return f"flash --to {card.name}: {one['device']}, {stages}"

    def passwords(self, sealed: bytes) -> dict[str, str]:
        """Open what a first boot sealed to the workshop."""
        with tempfile.NamedTemporaryFile(dir=self.folder) as file:
            file.write(sealed)
            file.flush()
            return dict(self.run(*self.ours("recover", file.name, "--recipient", "workshop"))["secrets"])

    def device(self, name: str) -> dict[str, Any]:
        """Return what the fleet knows of a device."""
        return self.run(*self.ours("devices", "show", name))

    @contextmanager
    def serving(self, port: int, address: str) -> Iterator[None]:
        """Open the enrolment server on this machine; it bears the address under which devices see it."""
        argv = self.argv(*self.ours("serve", "--listen", "127.0.0.1", "--port", str(port), "--name", address))
        with (self.folder / "serve.log").open("wb") as log:
            server = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            if not said:
                raise RuntimeError(f"privet-fleet serve: {(self.folder / 'serve.log').read_text()[-2000:]}")
            yield
        finally:
            server.terminate()
            server.communicate(timeout=60)
