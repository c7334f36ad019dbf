"""What is in an image, as a CycloneDX bill of materials (JSON, 1.5): Debian's packages, Privet, its wheels."""

import json
import re
import time
import uuid
from typing import Any
from urllib.parse import quote

from provisioning.card.deb import Deb, paragraphs

COPYRIGHT = "/usr/share/doc/privet/copyright"  # of the package; its titles name each wheel with its version
WHEEL = re.compile(r"^(\S+) ([0-9]\S*): .+\n=+$", re.MULTILINE)


def bill(image: str, title: str, status: str, deb: Deb, digest: str, moment: int) -> bytes:
    """Return the bill of an image; `status` is dpkg's list before Privet was put in, `digest` the package's sha256."""
    packages = [one for one in paragraphs(status) if one.get("Status", "").endswith(" installed")]
    parts = [debian(one["Package"], one.get("Version", ""), one.get("Architecture", "")) for one in packages]
    own = debian(deb.control["Package"], deb.control["Version"], deb.control["Architecture"])
    own |= {"hashes": [{"alg": "SHA-256", "content": digest}], "components": wheels(deb)}
    seed = f"{image} {digest} {moment}"
    table = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
            "component": {"type": "operating-system", "bom-ref": "image", "name": image, "description": title},
        },
        "components": [*parts, own],
    }
    return json.dumps(table, indent=1, ensure_ascii=False).encode() + b"\n"


def debian(name: str, version: str, machine: str) -> dict[str, Any]:
    """Return one package of Debian."""
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={quote(machine)}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def wheels(deb: Deb) -> list[dict[str, Any]]:
    """Return the Python packages that the package of Privet brings along."""
    text = next((one.content.decode("utf-8", "replace") for one in deb.entries if one.path == COPYRIGHT), "")
    found = sorted(set(WHEEL.findall(text)))
    made = []
    for name, version in found:
        purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}"
        made.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return made
