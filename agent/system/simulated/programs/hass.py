"""Home Assistant: listens as the configuration.yaml of its start says."""

import re
from typing import TYPE_CHECKING

from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

UNIT = "home-assistant@homeassistant.service"
PROGRAM = "/srv/homeassistant/bin/hass"
HOME = "/home/homeassistant/.homeassistant"
# Of what a new one is given, and what a forum taught its owner.
TEXT = """# Loads default set of integrations. Do not remove.
default_config:

homeassistant:
  auth_providers:
    - type: trusted_networks
      trusted_networks:
        - 192.168.0.0/16
      allow_bypass_login: true

automation: !include automations.yaml
script: !include scripts.yaml
"""
AGREED = (
    '{"version": 1, "key": "core.analytics", "data": {"onboarded": true, "preferences": {"base": true, "usage": true}}}'
)


def lay(device: "SimulatedSystem") -> None:
    """Lay it down."""
    device.edit(f"{HOME}/configuration.yaml", TEXT.encode(), uid=1001, gid=1001)
    device.edit(f"{HOME}/.storage/core.analytics", AGREED.encode(), mode=0o600, uid=1001, gid=1001)
    products.lay_unit(device, UNIT, f"User=homeassistant\nExecStart={PROGRAM} -c {HOME}")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is set up."""
    if products.there(device, f"{HOME}/configuration.yaml"):
        text = products.text(device, f"{HOME}/configuration.yaml")
        host = re.findall(r"^[^#\n]*server_host: ([^\s}]+)", text, re.MULTILINE)
        listed = re.search(r"^[^#\n]*server_host:\n((?: +- .*\n)+)", text, re.MULTILINE)
        host += re.findall(r"- (\S+)", listed[1]) if listed else []
        far = [one for one in host if one not in ("127.0.0.1", "::1")]
        door = ((far or host or ["0.0.0.0"])[-1], 8123)  # noqa: S104 — where it listens unless told otherwise
        door = ("127.0.0.1", 8123) if host and not far else door
        products.started(device, ("/srv/homeassistant/bin/hass", "-c", HOME), None, UNIT, [door], uid=1001)
