"""Trying doors: what a stranger, or somebody with a password, would find. Nothing here looks at a configuration."""

import socket
import ssl

from agent.system.simulated.programs import ssh
from provisioning.simulate.device import Device

PATIENCE = 3.0  # seconds in which a broker must have refused a stranger


def opens(device: Device, user: str, password: str) -> bool:
    """Try a password at the device itself, as PAM does."""
    return device.system.run(("unix_chkpwd", user, "nullok"), password.encode() + b"\0").code == 0


def signs_in(device: Device, user: str, password: str) -> bool:
    """Try to sign in over SSH with a password, from another device on the same network."""
    return ssh.login(device.system, user, password, address="192.168.1.77")


def host_keys(device: Device) -> tuple[bytes, ...]:
    """Return the private SSH host keys."""
    folder = "/etc/ssh"
    names = [name for name in device.system.entries(folder) if name.startswith("ssh_host_") and name.endswith("_key")]
    return tuple(device.system.read(f"{folder}/{name}") for name in names)


def stranger_hears(host: str, port: int, anchor: bytes) -> str:
    """Come to a broker without a certificate of our own; return how it refuses, nothing when it waits for more.

    Nothing is sent: a refusal that crosses with what we send would be lost.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=anchor.decode())
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=host) as link,
        ):
            return "" if link.recv(4) else "the connection was closed"
    except TimeoutError:
        return ""
    except ssl.SSLError as error:
        return (error.reason or "the greeting failed").lower().replace("_", " ")
    except OSError as error:
        return (error.strerror or "the connection was closed").lower()
