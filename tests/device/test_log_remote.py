"""The log that another machine gets: the machine that we name is the one that the real rsyslog tells."""

import pytest

from tests.device.enforced import look
from tests.device.lab import Device

HEAD = 'module(load="imuxsock")\n$IncludeConfig /etc/rsyslog.d/*.conf\n'
EAR = """
import socket, sys
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(("10.9.9.9", 514))
ear.settimeout(20)
print("ready", flush=True)
try:
    heard = ""
    while "somebody" not in heard:
        heard = ear.recv(2000).decode()
    print(heard, flush=True)
except TimeoutError:
    print("nothing", flush=True)
"""


@pytest.mark.parametrize(
    "rule",
    [
        "*.* @10.9.9.9\n",
        '*.* action(type="omfwd" target="10.9.9.9" port="514"\n protocol="udp")\n',
        "auth,user.*;mail.none @(o)10.9.9.9:514;RSYSLOG_ForwardFormat\n",
    ],
)
def test_the_machine_that_is_told_is_the_one_that_is_named(served: Device, rule: str) -> None:
    """Without the rule nobody is named; with it the machine is, and a real word of a program arrives there."""
    served.address("10.9.9.9/32")
    served.write("/etc/rsyslog.conf", HEAD + "*.* /var/log/all\n")
    served.must(["sh", "-c", "rm -f /etc/rsyslog.d/*"])
    assert look(served, "log.remote")["kept"] == []
    served.write("/etc/rsyslog.d/away.conf", rule)
    assert look(served, "log.remote")["kept"] == ["rsyslog:10.9.9.9"]
    served.must(["rsyslogd", "-N1"])
    ear = served.spawn(["/usr/bin/python3", "-c", EAR])
    assert ear.stdout is not None and ear.stdout.readline() == b"ready\n"
    served.must(["rsyslogd"])
    served.must(["timeout", "20", "sh", "-c", "until test -S /dev/log; do :; done"])
    served.must(["logger", "-p", "user.notice", "somebody is here"])
    assert "somebody is here" in ear.communicate(timeout=40)[0].decode()
    assert look(served, "log.remote")["live"] == ["rsyslog:10.9.9.9"]
    served.write("/etc/rsyslog.d/away.conf", "# taken away\n")
    said = look(served, "log.remote")
    assert (said["live"], said["kept"]) == (None, []) and "restart rsyslog" in said["cause"]
