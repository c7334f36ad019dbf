"""From the network, with a password: the running server asks for one, and somebody has one.

Only the owner knows it, so the server is asked which methods it offers; whether the password itself opens the account
was tried at PAM's door, when it was made (see `console`).
"""

from agent.core.order import ANY
from agent.core.trial import AFAR, IDLE, KNOWN, SHUT, TRIED, Way, reachable
from agent.system.door import System
from agent.system.openssh import REFUSED, answers, knock, server
from agent.system.parts import Tries
from agent.system.people import people

METHODS = ("password", "keyboard-interactive")


def look(system: System, tries: Tries) -> Way:
    """Ask the server what it offers to each account that has a password."""
    found = server(system)
    if found is None:
        return way(SHUT, "", "there is no SSH server that would start")
    flow = f"tcp/{found.port}"
    if not reachable(ANY if tries.flows is None else tries.flows, flow):
        return way(SHUT, flow, "the firewall lets no neighbour come to the SSH server")
    state, cause = SHUT, "nobody who may sign in so has a password"
    for person in people(system):
        if not person.has_password() or (person.uid == 0 and found.root != "yes"):
            continue
        said = knock(system, person.name, found.port, "none")
        offers = said.rpartition(REFUSED)[2].partition(")")[0].split(",")
        if not answers(said):
            state, cause = IDLE, "the SSH server does not answer now"
        elif not set(METHODS) & set(offers):
            cause = "the SSH server takes no passwords" if state == SHUT else cause
        elif person.digest() in tries.proven:
            return way(TRIED, flow, f"{person.name} with a password")
        else:
            state, cause = KNOWN, f"{person.name} with a password that only its owner knows"
    return way(state, flow, cause)


def way(state: str, flow: str, cause: str) -> Way:
    """Make the way."""
    return Way(name="ssh_password", reach=AFAR, state=state, flow=flow, cause=cause)
