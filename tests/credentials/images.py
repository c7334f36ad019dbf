"""Factory images for tests of credentials: accounts in any scheme, with the cheapest hashes that are still real."""

from collections.abc import Callable, Sequence
from functools import cache

from agent.system import crypt
from agent.system.simulated.system import SimulatedSystem

ENTROPY = bytes(range(32))
# Every scheme that a Linux shadow file was seen to hold, with its cheapest cost.
SCHEMES = {
    "yescrypt": ("$y$", 1), "gost-yescrypt": ("$gy$", 1), "scrypt": ("$7$", 6), "bcrypt": ("$2b$", 4),
    "bcrypt-y": ("$2y$", 4), "sha512": ("$6$", 1000), "sha256": ("$5$", 1000), "md5": ("$1$", 0), "des": ("", 0),
    "bsdi": ("_", 1), "sha1": ("$sha1$", 4),
}  # fmt: skip
PAM = b"password [success=1 default=ignore] pam_unix.so obscure sha256 rounds=1000\n"
OWNER = {"owner_account": "pi"}


@cache
def hashed(password: str, scheme: str = "md5") -> str:
    """Hash a password cheaply."""
    prefix, cost = SCHEMES[scheme]
    return crypt.hashed(password, crypt.salt(prefix, ENTROPY, cost))


def account(name: str, field: str, uid: int, shell: str = "/bin/bash") -> tuple[str, str]:
    """Return the passwd and the shadow line of an account."""
    return f"{name}:x:{uid}:{uid}:,,,:/home/{name}:{shell}", f"{name}:{field}:20000:0:99999:7:::"


def image(fields: dict[str, str], extra: Sequence[tuple[str, bytes]] = ()) -> Callable[[SimulatedSystem], None]:
    """Return what lays down an image with these accounts (name: password field), beside a locked root."""

    def lay(device: SimulatedSystem) -> None:
        """Write the files."""
        lines = [account(name, field, 1000 + place) for place, (name, field) in enumerate(fields.items())]
        root = [("root:x:0:0:root:/root:/bin/bash", "root:*:20000:0:99999:7:::")] if "root" not in fields else []
        device.edit("/etc/passwd", "".join(f"{passwd}\n" for passwd, _ in root + lines).encode())
        shadow = "".join(f"{line}\n" for _, line in root + lines).encode()
        device.edit("/etc/shadow", shadow, mode=0o640, gid=42)
        device.edit("/etc/pam.d/common-password", PAM)
        for path, content in extra:
            device.edit(path, content)

    return lay


def device(fields: dict[str, str], extra: Sequence[tuple[str, bytes]] = ()) -> SimulatedSystem:
    """Make a simulated device with these accounts."""
    return SimulatedSystem(image=image(fields, extra))


def field(system: SimulatedSystem, name: str, path: str = "/etc/shadow") -> str:
    """Return the password field of an account in a file."""
    lines = system.read(path).decode().split("\n")
    return next(line.split(":")[1] for line in lines if line.startswith(name + ":"))
