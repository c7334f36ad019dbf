"""What a profile means for the owner of a device, as facts ready to show: rendered from the compiled policy itself."""

from typing import Any

from agent.core.consent import notice_digest
from agent.core.notice import notice
from agent.core.policy import Policy
from agent.core.record import Value
from provisioning.profile.catalogue import Catalogue, on_platform
from provisioning.profile.check import FLOW_SETTINGS, shown
from provisioning.profile.inherit import Loaded
from provisioning.profile.schema import Profile


def explained(loaded: Loaded, policy: Policy, catalogue: Catalogue) -> dict[str, Any]:
    """Return everything a profile decides: settings with reasons and risks, flows, notices, warnings, credentials."""
    profile = loaded.profile
    return {
        "model": profile.model,
        "title": profile.title,
        "files": list(loaded.files),
        "platform": profile.platform or "linux",
        "support_until": str(profile.support_until),
        "settings": settings_explained(loaded, policy, catalogue),
        "flows": flows_explained(profile),
        "notices": [
            {"purpose": one.id, "text": notice(policy, one.id), "digest": notice_digest(policy, one.id)}
            for one in policy.purposes
        ],
        "secrets": named(SECRETS, [str(one["kind"]) for one in policy.credentials]),
        "warned": named(CHANNELS, list(policy.channels)),
        "credentials": [dict(one) for one in policy.credentials],
        "channels": list(policy.channels),
    }


def settings_explained(loaded: Loaded, policy: Policy, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return each setting with its value; a looser one with its reason, its risks and the file that chose it."""
    rows = []
    for name, setting in sorted(on_platform(catalogue, loaded.profile.platform).settings.items()):
        if name in FLOW_SETTINGS.values():
            continue
        value = policy.baseline.get(name, setting.strictest())
        strict = setting.lattice().leq(value, setting.strictest())
        risks = [] if strict else [option.risk for option in setting.newly(setting.strictest(), value) if option.risk]
        rows.append(
            {
                "setting": name,
                "title": setting.title,
                "value": shown(value),
                "said": in_words(value),
                "strictest": strict,
                "chosen_by": loaded.chosen_by.get(name, ""),
                "reason": policy.reasons.get(name, ""),
                "risks": list(dict.fromkeys(risks)),
                "satisfies": list(setting.satisfies),
            }
        )
    return rows


# Where a flow leads to or comes from, in words; an address block stands for itself.
PEERS = {
    "inbound": {"any": "from anywhere", "lan": "from your own network", "loopback": "from itself"},
    "outbound": {"any": "to anywhere", "lan": "to your own network", "loopback": "to itself"},
}
# What a person calls them; a kind that is not here is shown by its name.
SECRETS = {
    "access_point": "the password of its own Wi-Fi",
    "boot_files": "what the card writer left on the card",
    "host_name": "its factory name",
    "linux_account": "the known password of its account",
    "machine_id": "the number the maker gave all devices",
    "mosquitto": "the passwords of its MQTT broker",
    "node_red": "the passwords of Node-RED",
    "samba": "the passwords of its shared folders",
    "ssh_host_key": "the keys that prove it is this device",
    "vnc": "the password of its screen",
}
CHANNELS = {
    "motd": "when you sign in",
    "mqtt": "through the broker of its fleet",
    "syslog": "in the diary of the system",
    "terminal": "on every open terminal",
}


def flows_explained(profile: Profile) -> list[dict[str, str]]:
    """Return what the firewall lets through, and why."""
    return [
        {"side": side, "flow": flow.flow, "purpose": flow.purpose, "peer": peer_in_words(side, flow.flow)}
        for side in FLOW_SETTINGS
        for flow in getattr(profile.flows, side)
    ]


def in_words(value: Value) -> str:
    """Say a value as briefly as an owner needs it: of words such as tcp/22@any:sshd the program alone."""
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join(dict.fromkeys(word.rpartition(":")[2] if "@" in word else word for word in value)) or "nothing"


def peer_in_words(side: str, flow: str) -> str:
    """Say where a flow comes from or leads to."""
    peer = flow.partition("@")[2]
    return PEERS[side].get(peer, f"{'from' if side == 'inbound' else 'to'} {peer}")


def named(words: dict[str, str], names: list[str]) -> list[str]:
    """Say names in words, each once."""
    return list(dict.fromkeys(words.get(name, name.replace("_", " ")) for name in names))
