"""Verbs about single devices."""

import secrets
import sys
from pathlib import Path

import click
from rich.console import Console

from agent.core.errors import Missing, Refused
from provisioning.cli.answer import answer, answers, profile_path, with_fleet, with_profiles
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import MOST_CSR, checked
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import current_policy, seed_files


@click.group(epilog="\b\nExample:\n  privet-fleet device add --csr request.pem")
def device() -> None:
    """Prepare what one device is flashed with."""


@device.command(
    epilog="\b\nExamples (the key and the request are made on the device, and the key stays there):\n"
    "  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\\n"
    "    -keyout key.pem -subj /CN=device -out request.pem\n  privet-fleet device add --csr request.pem\n"
    "  ssh pi cat request.pem | privet-fleet device add porch --profile base --csr -"
)
@with_profiles
@with_fleet
@answers
@click.argument("name", required=False)
@click.option("--profile", "model", default="base", show_default=True, help="Its device profile.")
@click.option("--csr", help="The certificate request (PEM) that the device made; - reads standard input.")
@click.option("--days", type=click.IntRange(1, 1827), default=397, show_default=True, help="Life of its certificate.")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Where to put the files.")
def add(
    name: str | None, profiles: Path | None, fleet_directory: Path, passphrase_fd: int | None, model: str,
    csr: str | None, days: int, output: Path | None,
) -> None:  # fmt: skip
    """Make the files of a new device: who it is, its signed policy and, from its own request, its certificate.

    NAME is random unless given: a name that tells something about its owner would be in every message it sends.
    """
    fleet = open_fleet(fleet_directory, passphrase_fd)
    device_name = checked(name or f"d-{secrets.token_hex(8)}", "device")
    folder = output or fleet.safe.directory / "devices" / device_name
    if (folder / "etc/privet/device.cbor").exists():
        raise Refused(f"{folder} already holds a device; choose another name or directory")
    request = read_request(csr) if csr else b""
    seeds = seed_files(fleet, current_policy(fleet, profile_path(model, profiles)), device_name)
    files = {"etc/privet/" + path: content for path, content in seeds.items()}
    if request:
        files["var/lib/privet-courier/cert.pem"] = fleet.sign_csr(request, device_name, days)
    files["var/lib/privet-courier/ca.pem"] = fleet.trust_anchor()
    for path, content in files.items():
        whole_file(folder / path, content)
    result = {"device": device_name, "directory": str(folder), "files": sorted(files), "certificate": bool(request)}

    def show(console: Console) -> None:
        console.print(f"[green]✓[/] The device [bold]{device_name}[/] has its files in {folder}:")
        for path in sorted(files):
            console.print(f"  /{path}")
        if not request:
            console.print("  It has no certificate yet: let the device make a request, then give it with --csr.")

    answer(result, show)


def read_request(csr: str) -> bytes:
    """Read a certificate request from a file or from standard input."""
    if csr == "-":
        return sys.stdin.buffer.read(MOST_CSR + 1)
    try:
        with Path(csr).open("rb") as file:
            return file.read(MOST_CSR + 1)
    except OSError as error:
        raise Missing(f"{csr} cannot be read ({error.strerror}); give the file that the device made") from None
