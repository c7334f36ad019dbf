"""The policy that ships with the package, for a device without a fleet: compiled, not signed (agent/guard/setup.py)."""

from pathlib import Path

from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, encode, policy_map
from provisioning.profile.inherit import load

PROFILE = "device_profiles/alone.toml"
FLEET = "alone"  # what device.cbor says where no fleet's name stands


def shipped_policy(repository: Path, moment: int) -> bytes:
    """Compile the profile; its first second is that of the commit, so that one commit gives one policy."""
    catalogue = shipped()
    issue = Issue(fleet=FLEET, sequence=1, issued=moment, keys={})
    return encode(policy_map(load(repository / PROFILE, catalogue).profile, catalogue, issue))
