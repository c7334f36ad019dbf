"""Accounts that somebody adds, gives known passwords or makes root."""

from agent.core.record import Params, Value
from agent.system import crypt
from agent.system.simulated import SimulatedSystem

NOBODY = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Write the accounts that make exactly this value true; all others open nothing."""
    salt = crypt.salt("$5$", b"0123456789abcdef", 1000)
    fields = {"known": crypt.hashed("raspberry", salt), "locked": "!" + crypt.hashed("raspberry", salt), "blank": ""}
    wanted = value if isinstance(value, tuple) else ()
    passwd, shadow = "root:x:0:0:root:/root:/bin/bash\n" * ("root" not in wanted), "root:*:20000:0:99999:7:::\n"
    for word in wanted:
        name, _, how = word.replace("uid:1000", "pi").partition(":")
        number = "0" if how == "root" or name == "root" else "1000" if name == "pi" else "1001"
        passwd += f"{name}:x:{number}:{number}::/home/{name}:/bin/bash\n"
        field = fields.get(how) if how in fields else crypt.hashed("no list has this", salt)
        shadow = f"{name}:{field}:20000:0:99999:7:::\n{shadow}"
    device.edit("/etc/passwd", (passwd + NOBODY).encode())
    device.edit("/etc/shadow", shadow.encode())
