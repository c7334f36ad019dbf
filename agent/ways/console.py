"""At the device itself, with keyboard and screen: somebody has a password that PAM takes."""

from agent.core.trial import HERE, KNOWN, SHUT, TRIED, Way
from agent.system.door import System
from agent.system.parts import Tries
from agent.system.people import people


def look(system: System, tries: Tries) -> Way:
    """Try the passwords that wait for the owner; one that opened before and was not changed since counts as tried."""
    cause, state = "nobody has a password", SHUT
    for person in people(system):
        if not person.has_password():
            continue
        secret = tries.staged.get(person.name)
        if secret is not None and person.digest() not in tries.proven:
            opened = system.run(("unix_chkpwd", person.name, "nullok"), secret.reveal() + b"\0")
            if opened.code == 0:
                tries.proven.add(person.digest())
        if person.digest() in tries.proven:
            return Way(name="console", reach=HERE, state=TRIED, flow="", cause=f"{person.name} with a password")
        cause, state = f"{person.name} with a password that only its owner knows", KNOWN
    return Way(name="console", reach=HERE, state=state, flow="", cause=cause)
