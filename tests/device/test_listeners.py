"""Programs that wait for connections, on a real system: the kernel's tables and real daemons say what is true."""

import json
import textwrap

import pytest

from tests.device.enforced import LOOK, look
from tests.device.lab import Device

# Waits on one socket of a kind until its input ends; says when it does.
WAITER = textwrap.dedent("""
    import socket, sys
    kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if kind == "packet":
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(port))
    elif kind == "raw":
        s = socket.socket(family, socket.SOCK_RAW, port)
    else:
        s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        if address == "::":
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((address, port))
        if kind == "tcp":
            s.listen()
    print("waits", flush=True)
    sys.stdin.read()
""")

# The same look, two minutes later.
LATER = textwrap.dedent("""
    import json, sys
    from agent.core.record import replace
    from agent.providers.linux import listeners
    from agent.system.real import RealSystem

    class Later(RealSystem):
        def clock(self):
            now = super().clock()
            return replace(now, uptime=now.uptime + 120)

    print(json.dumps(listeners.probe(Later(), {"what": sys.argv[1]}).live))
""")


def waits(device: Device, *words: str, inside: tuple[str, ...] = ()) -> None:
    """Start a program that waits on one socket."""
    device.write("/opt/waiter", WAITER)
    child = device.spawn([*inside, "/usr/bin/python3", "/opt/waiter", *words])
    assert child.stdout is not None
    assert child.stdout.readline() == b"waits\n", child.stderr and child.stderr.read()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("tcp", "0.0.0.0", "8080"), ["tcp/8080@any:python+waiter"]),
        (("tcp", "::", "8080"), ["tcp/8080@any:python+waiter"]),
        (("tcp", "10.9.0.1", "8080"), ["tcp/8080@any:python+waiter"]),
        (("udp", "0.0.0.0", "5353"), ["udp/5353@any:python+waiter"]),
        (("udp", "224.0.0.251", "5353"), ["udp/5353@link:python+waiter"]),
        (("tcp", "127.0.0.1", "8080"), []),
        (("tcp", "::1", "8080"), []),
        (("tcp", "127.8.8.8", "8080"), []),
        (("udp", "::ffff:127.0.0.1", "7"), []),
        (("udp", "0.0.0.0", "40000"), []),
    ],
)
def test_what_the_kernel_says_is_what_we_say(device: Device, words: tuple[str, ...], found: list[str]) -> None:
    """Both families, each scope; what only the device itself reaches and a question in passing are no findings."""
    device.address("10.9.0.1/24")
    assert look(device, "net.listeners")["live"] == []
    waits(device, *words)
    reading = look(device, "net.listeners")
    assert reading["live"] == reading["kept"] == found
    assert bool(reading["cause"]) == bool(found)


def test_a_container_of_its_own_is_seen_and_never_entered(device: Device) -> None:
    """A listener in another network namespace is named as that, also where it has the port of one of ours."""
    device.sshd()
    waits(device, "tcp", "0.0.0.0", "22", inside=("unshare", "--net", "--"))
    assert look(device, "net.listeners")["live"] == ["tcp/22@any:sshd", "tcp/22@netns:python+waiter"]


def test_a_name_that_a_program_gives_itself_is_not_believed(device: Device) -> None:
    """A stranger who calls himself sshd, by name and title, is told by his own file."""
    device.must(["cp", "/usr/bin/python3", "/opt/backdoor"])
    waits(device, "tcp", "0.0.0.0", "2222", inside=("bash", "-c", 'exec -a sshd /opt/backdoor "${@:1}"'))
    assert look(device, "net.listeners")["live"] == ["tcp/2222@any:backdoor"]


def test_whoever_reads_along_is_found(device: Device) -> None:
    """A packet socket and a raw one, once they have lasted; both are nothing that a firewall sees."""
    waits(device, "packet", "-", "3")
    waits(device, "raw", "0.0.0.0", "1")
    waits(device, "udp", "0.0.0.0", "40000")
    assert look(device, "net.raw")["live"] == look(device, "net.listeners")["live"] == []
    assert device.ask(LATER, "raw") == ["packet/3@link:python+waiter", "raw/1@any:python+waiter"]
    assert device.ask(LATER, "ports") == ["udp/dynamic@any:python+waiter"]


def test_without_a_look_into_others_processes_it_goes_by_their_account(device: Device) -> None:
    """A service's only program is named all the same; a person's socket by the account; nothing is left out."""
    service, person = (("runuser", "-u", name, "--") for name in ("nobody", "pi"))
    waits(device, "tcp", "0.0.0.0", "8081", inside=service)
    waits(device, "tcp", "0.0.0.0", "8082", inside=person)
    few = ["capsh", "--drop=cap_dac_override,cap_dac_read_search", "--", "-c", 'exec "$0" "$@"']
    said = device.must([*few, *device.python("-c", LOOK, "net.listeners")])
    assert json.loads(said)["live"] == ["tcp/8081@any:python+waiter", "tcp/8082@any:uid+1000"]


def test_inetd_waits_for_the_daemon_it_will_start(served: Device) -> None:
    """The real inetd with the real telnetd behind it, and the real tftpd and vsftpd, each on its port."""
    served.write("/etc/inetd.conf", "telnet stream tcp nowait root /usr/sbin/telnetd telnetd\n")
    served.must(["/usr/sbin/inetd"])
    served.must(["/usr/sbin/in.tftpd", "--listen", "--user", "nobody", "/srv"])
    assert look(served, "net.listeners")["live"] == ["tcp/23@any:inetd", "udp/69@any:in.tftpd"]
