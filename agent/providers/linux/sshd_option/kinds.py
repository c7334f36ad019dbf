"""The options this provider knows: how sshd's answers become a value, and a value becomes configuration lines."""

from collections.abc import Mapping

from agent.core.errors import Unreadable
from agent.core.order import ANY, Order, order
from agent.core.record import Record, Value

# What sshd prints → our word, strictest first; `without-password` is the older name it still prints.
ROOT = {
    "no": "no",
    "forced-commands-only": "forced-commands-only",
    "prohibit-password": "prohibit-password",
    "without-password": "prohibit-password",
    "yes": "yes",
}
SWITCH = {"no": "no", "yes": "yes"}

# word of the setting → keyword of sshd; whatever is not `no` opens it
WAYS = {
    "agent": "AllowAgentForwarding",
    "gateway": "GatewayPorts",
    "socket": "AllowStreamLocalForwarding",
    "tcp": "AllowTcpForwarding",
    "tunnel": "PermitTunnel",
    "x11": "X11Forwarding",
}


class Kind(Record):
    """One option: the keywords it is made of, the meaning of sshd's words (none for a set), whom it is about, its door.

    `powerful`: only accounts with the number 0 matter. `method`: what the server offers at its door when it is open.
    """

    __slots__ = ("keywords", "meaning", "method", "powerful")
    keywords: tuple[str, ...]
    meaning: Mapping[str, str]
    method: str
    powerful: bool

    def lattice(self) -> Order:
        """Return the order of the values."""
        return order("chain", tuple(dict.fromkeys(self.meaning.values()))) if self.meaning else order("subset")

    def strictest(self) -> Value:
        """Return the value of a door that is not there."""
        return next(iter(self.meaning.values())) if self.meaning else ()

    def loosest(self) -> Value:
        """Return the value beyond which nothing is open."""
        return list(self.meaning.values())[-1] if self.meaning else tuple(sorted(WAYS))

    def value(self, answers: Mapping[str, str]) -> Value:
        """Turn the answers of `sshd -T` into a value; a word nobody knows counts as the loosest of all."""
        for keyword in self.keywords:
            if keyword.lower() not in answers:
                raise Unreadable("this SSH server does not tell its %s; update it" % keyword)
        if self.meaning:
            return self.meaning.get(answers[self.keywords[0].lower()], ANY)
        return tuple(word for word in sorted(WAYS) if answers[WAYS[word].lower()] != "no")

    def written(self, option: Value) -> tuple[str, ...]:
        """Return the configuration lines that give this value."""
        if self.meaning:
            return (f"{self.keywords[0]} {option!s}",)
        open_ways = option if isinstance(option, tuple) else ()
        return tuple("%s %s" % (WAYS[word], "yes" if word in open_ways else "no") for word in sorted(WAYS))

    def is_open(self, keyword: str, value: Value) -> bool:
        """Say whether this keyword (lower case) takes part in making a value loose."""
        if isinstance(value, tuple):
            return any(WAYS[word].lower() == keyword for word in value if word in WAYS)
        return keyword == self.keywords[0].lower()


def single(keyword: str, meaning: Mapping[str, str], method: str = "", *, powerful: bool = False) -> Kind:
    """Make a kind of one keyword."""
    return Kind(keywords=(keyword,), meaning=meaning, method=method, powerful=powerful)


KINDS = {
    "Forwarding": Kind(keywords=tuple(WAYS[w] for w in sorted(WAYS)), meaning={}, method="", powerful=False),
    "KbdInteractiveAuthentication": single("KbdInteractiveAuthentication", SWITCH, "keyboard-interactive"),
    "PasswordAuthentication": single("PasswordAuthentication", SWITCH, "password"),
    "PermitEmptyPasswords": single("PermitEmptyPasswords", SWITCH, "none"),
    "PermitRootLogin": single("PermitRootLogin", ROOT, "key", powerful=True),
}
