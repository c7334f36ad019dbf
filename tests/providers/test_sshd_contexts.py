"""How the SSH provider reads lines, command lines and Match criteria, and that it asks about every connection."""

from hypothesis import given
from hypothesis import strategies as st

from agent.providers.linux.sshd_option.commands import command
from agent.providers.linux.sshd_option.contexts import Account, contexts
from agent.providers.linux.sshd_option.criteria import grouped
from agent.providers.linux.sshd_option.daemons import address, started
from agent.providers.linux.sshd_option.words import arguments, criteria, statement
from agent.system.simulated.openssh import MAIN, Configuration


def test_lines_are_cut_as_openssh_cuts_them() -> None:
    """Keywords, quotes, equals signs, comments."""
    assert statement("  PermitRootLogin\t= no \r") == ("permitrootlogin", "no")
    assert statement('"PermitRootLogin" no') == ("permitrootlogin", "no")
    assert statement("ChallengeResponseAuthentication no")[0] == "kbdinteractiveauthentication"
    assert statement("# PermitRootLogin no") == statement("   ") == ("", "")
    assert arguments("a \"b c\" 'd e' f\\ g # h") == ("a", "b c", "d e", "f g")
    assert grouped(("pi", "sudo"), "*,!sudo") == -1 and grouped(("pi",), "*,!sudo") == 1 and grouped((), "*") == 0
    assert criteria('User="a,b" Address 10.0.0.0/8 # no') == ("User", "a,b", "Address", "10.0.0.0/8")


def test_command_lines_survive_the_process_title() -> None:
    """A title has lost its quotes; options are found all the same, glued, spaced or with an equals sign."""
    title = b"sshd: /usr/sbin/sshd -D -o PermitRootLogin yes -oPort=22 -f /etc/x -4 [listener] 0 of 10-100 startups\0"
    found = started(title, "7", "/usr/sbin/sshd (deleted)")
    assert (found.program, found.file) == ("/usr/sbin/sshd", "/etc/x")
    assert found.options == ("PermitRootLogin yes", "Port=22")
    assert command(["/opt/sshd", "-D"], "x").file == "", "a server built elsewhere reads files we do not know"
    assert command(["/usr/sbin/sshd", "-ddo", "A b"], "x").options == ("A b",)
    assert address("0100007F") == "127.0.0.1" == address("00000000")
    assert address("00000000000000000000000001000000") == "0:0:0:0:0:0:0:1"


USERS = st.sampled_from(["pi", "root", "p*", "*", "!root", "*,!pi", "r?ot", "guest", "ftp,pi"])
NETS = st.sampled_from(
    [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "*,!10.0.0.0/8",
        "127.0.0.1",
        "192.168.*",
        "fe80::/10",
        "10.0.0.0/16",
        "!10.1.2.3,10.1.0.0/16",
    ]
)
PORTS = st.sampled_from(["22", "2222"])
CRITERION = st.one_of(
    st.tuples(st.just("User"), USERS),
    st.tuples(st.just("Address"), NETS),
    st.tuples(st.just("LocalPort"), PORTS),
    st.tuples(st.just("Group"), st.sampled_from(["sudo", "*,!sudo", "guests", "p*"])),
)
BLOCK = st.tuples(st.lists(CRITERION, min_size=1, max_size=2), st.sampled_from(["yes", "no"]))
CONNECTION = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["pi", "root", "ftp", "guest", "pat", "nobody-here"]),
        "addr": st.sampled_from(["10.0.0.1", "10.1.2.3", "10.1.9.9", "127.0.0.1", "192.168.7.7", "8.8.8.8", "fe80::1"]),
        "lport": st.sampled_from(["22", "2222", "9"]),
    }
)
ACCOUNTS = (
    Account(name="root", uid=0, home="/root", shell="/bin/bash", groups=("root",)),
    Account(name="pi", uid=1000, home="/home/pi", shell="/bin/bash", groups=("pi", "sudo")),
    Account(name="ftp", uid=8, home="/srv", shell="/usr/sbin/nologin", groups=("ftp",)),
)


@given(st.lists(BLOCK, max_size=5), st.sampled_from(["yes", "no"]), st.lists(CONNECTION, min_size=20, max_size=20))
def test_no_connection_is_missed(
    blocks: list[tuple[list[tuple[str, str]], str]], default: str, connections: list[dict[str, str]]
) -> None:
    """Whatever answer the server has for any connection is among its answers for the connections we ask about."""
    matches = [" ".join(f"{name} {pattern}" for name, pattern in wanted) for wanted, _ in blocks]
    text = f"PasswordAuthentication {default}\n"
    text += "".join(f"Match {m}\nPasswordAuthentication {v}\n" for m, (_, v) in zip(matches, blocks, strict=True))
    server = Configuration(lambda path: text.encode(), lambda path: ())
    server.load(MAIN, ())
    member = {account.name: account.groups for account in ACCOUNTS}

    def answer(facts: dict[str, str]) -> str:
        full = {"host": "h", "laddr": "127.0.0.1", **facts}
        return server.effective(full, member.get(facts["user"], ()))["passwordauthentication"]

    asked = [
        {"user": c.user, "addr": c.address, "lport": c.localport} for c in contexts(matches, ACCOUNTS, ("22",), False)
    ]
    ours = {answer(facts) for facts in asked} or {default}
    assert {answer(facts) for facts in connections} <= ours
