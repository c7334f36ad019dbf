"""Joining a Wi-Fi network by hand."""

from agent.core.errors import Missing
from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

PATH = "/etc/NetworkManager/system-connections/Home.nmconnection"
LOCKS = {
    "wpa3": "\n[wifi-security]\nkey-mgmt=sae\npsk=a long one\n",
    "wpa2-aes": "\n[wifi-security]\nkey-mgmt=wpa-psk\nproto=rsn;\npairwise=ccmp;\ngroup=ccmp;\npsk=a long one\n",
    "wpa2": "\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=a long one\n",
    "weak": "\n[wifi-security]\nkey-mgmt=none\nwep-key0=abcde\n",
    "open": "",
}


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Let it be the only one that the device knows."""
    text = f"[connection]\nid=Home\ntype=wifi\n\n[wifi]\nssid=Home\n{LOCKS[str(value)]}"
    if not known(device, text):
        device.edit(PATH, text.encode(), mode=0o600)


def known(device: SimulatedSystem, text: str) -> bool:
    """Say whether the file is so already."""
    try:
        return device.read(PATH) == text.encode()
    except Missing:
        return False
