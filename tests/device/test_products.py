"""Settings of products on a real Debian: what we say of each is what the running program does, and our steps hold."""

import base64

import pytest

from provisioning.package.policy import shipped_policy
from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device
from tests.house import ROOT

RECIPE = tree.PRODUCTS  # devices with products

MAIN = "/etc/mosquitto/mosquitto.conf"
DEBIAN = "pid_file /run/mosquitto/mosquitto.pid\npersistence false\ninclude_dir /etc/mosquitto/conf.d\n"
BROKERS = {
    "a listener of its own file": ({"a": "listener 1883\nallow_anonymous true\n"}, "network", "yes"),
    "none named": ({}, "loopback", "here"),
    "a port without a name": ({"a": "port 1883\nallow_anonymous true\n"}, "network", "yes"),
    "settings apart": (
        {"a": "per_listener_settings true\nlistener 1883\nallow_anonymous true\nlistener 1884 127.0.0.1\n"},
        "network",
        "yes",
    ),
    "open to this device only": ({"a": "listener 1883 127.0.0.1\nallow_anonymous true\n"}, "loopback", "here"),
    "two files, the later wins": (
        {"a": "listener 1883\nallow_anonymous false\n", "b": "allow_anonymous true\n"},
        "network",
        "yes",
    ),
    "IPv6 only": ({"a": "listener 1883 ::\nallow_anonymous true\n"}, "network", "yes"),
    "an interface": ({"a": "listener 1883\nbind_interface lo\nallow_anonymous true\n"}, "loopback", "here"),
    "passwords asked": ({"a": "listener 1883\n"}, "network", "no"),
}


def again(device: Device) -> None:
    """Start the broker, in place of one that runs."""
    device.run(["pkill", "-x", "mosquitto"])
    device.must(["sh", "-c", "while pgrep -x mosquitto; do :; done"])
    device.must(["sh", "-c", "chown mosquitto: /run/mosquitto; mosquitto -d -c /etc/mosquitto/mosquitto.conf"])
    device.listener(1883)


def opens(device: Device, host: str = "127.0.0.1") -> bool:
    """Say whether mosquitto's own client gets in without a name."""
    return device.run(["mosquitto_pub", "-h", host, "-V", "311", "-t", "t", "-n"]).returncode == 0


def settings(device: Device, value: str = "live") -> tuple[str, ...]:
    """Return what is said of the broker."""
    return tuple(look(device, f"mosquitto.{what}")[value] for what in ("bind", "anonymous", "tls", "acl"))


@pytest.mark.parametrize("name", BROKERS)
def test_mosquitto(device: Device, name: str) -> None:
    """Each file is judged as the real broker behaves; after our steps it behaves so; undone the files are as before."""
    files, bind, anonymous = BROKERS[name]
    device.write(MAIN, DEBIAN)
    for file, text in files.items():
        device.write(f"/etc/mosquitto/conf.d/{file}.conf", text)
    again(device)
    device.address("192.0.2.7/32")
    host = "::1" if name == "IPv6 only" else "127.0.0.1"
    assert (opens(device, host), opens(device, "192.0.2.7") or name == "IPv6 only") == (
        anonymous != "no",
        anonymous == "yes" or name == "IPv6 only",
    )
    plain = "no" if bind == "network" else "yes"
    assert settings(device) == settings(device, "kept") == (bind, anonymous, plain, "no")
    before = device.must(["sh", "-c", "cat /etc/mosquitto/mosquitto.conf /etc/mosquitto/conf.d/*.conf || true"])
    for what, strict in (("tls", "yes"), ("bind", "loopback"), ("anonymous", "here"), ("anonymous", "no")):
        assert enforce(device, f"mosquitto.{what}", strict) == ""
        assert look(device, f"mosquitto.{what}")["kept"] in (strict, "no" if what == "anonymous" else strict)
    assert enforce(device, "mosquitto.acl", "yes") == ""
    again(device)
    assert settings(device) == settings(device, "kept") == ("loopback", "no", "yes", "yes")
    assert not opens(device) and not opens(device, "192.0.2.7")
    for what, loose in (("acl", "no"), ("anonymous", "yes"), ("bind", "network"), ("tls", "no")):
        assert enforce(device, f"mosquitto.{what}", loose) == ""
    after = device.must(["sh", "-c", "cat /etc/mosquitto/mosquitto.conf /etc/mosquitto/conf.d/*.conf || true"])
    assert after == before


INFLUX = """
set -a; for file in /etc/default/influxdb /etc/systemd/system/influxdb.service.d/*.env; do
if [ -f "$file" ]; then . "$file"; fi; done
mkdir -p /run/systemd/units; ln -sfn now /run/systemd/units/invocation:influxdb.service
exec setpriv --reuid influxdb --regid influxdb --clear-groups /usr/bin/influxd -config /etc/influxdb/influxdb.conf
"""


def influx(device: Device) -> None:
    """Start the database as its unit does, in place of one that runs."""
    device.must(["sh", "-c", "pkill -x influxd; while pgrep -x influxd >/dev/null; do :; done"])
    device.spawn(["sh", "-c", INFLUX])
    device.listener(8086, seconds=60)


def databases(device: Device, host: str = "127.0.0.1") -> int:
    """Return the status of a question for the databases; 0 when nobody answers."""
    source = "import sys, urllib.error, urllib.request\ntry:\n  print(urllib.request.urlopen(sys.argv[1]).status)\n"
    source += "except urllib.error.HTTPError as error:\n  print(error.code)\nexcept OSError:\n  print(0)\n"
    return int(device.must(["python3", "-c", source, f"http://{host}:8086/query?q=SHOW+DATABASES"]))


def test_influxdb(device: Device) -> None:
    """As Debian ships it everybody reads it; by our variables it asks, near only; without them it is as before."""
    device.address("192.0.2.7/32")
    influx(device)
    names = [f"influxdb.{what}" for what in ("bind", "auth", "tls", "reports")]
    assert (databases(device), databases(device, "192.0.2.7")) == (200, 200)
    assert [look(device, name)["live"] for name in names] == ["network", "open", "no", "off"]
    assert [look(device, name)["kept"] for name in names] == ["network", "open", "no", "off"]
    for name, strict in zip(names, ("loopback", "asks", "yes", "off"), strict=True):
        assert enforce(device, name, strict) == ""
    assert look(device, "influxdb.auth")["live"] == "open", "one that was not started again is no other"
    influx(device)
    assert (databases(device), databases(device, "192.0.2.7")) == (403, 0), "it has no administrator yet"
    assert [look(device, name)["live"] for name in names] == ["loopback", "asks", "yes", "off"]
    assert [look(device, name)["kept"] for name in names] == ["loopback", "asks", "yes", "off"]
    for name, loose in zip(names, ("network", "open", "no", "on"), strict=True):
        assert enforce(device, name, loose) == ""
    influx(device)
    assert (databases(device), databases(device, "192.0.2.7")) == (200, 200)
    change = (
        "s/^reporting-enabled = false/reporting-enabled = true/; s/# auth-enabled = false/auth-enabled = true # here/"
    )
    device.must(["sed", "-i", change, "/etc/influxdb/influxdb.conf"])
    influx(device)
    assert databases(device) == 403
    assert [look(device, name)["live"] for name in names] == ["network", "asks", "no", "on"]


SCREENS = {
    "None": "none",
    "VncAuth": "password",
    "TLSVnc": "encrypted",
    "TLSNone": "none",
    "TLSVnc,VncAuth": "password",
    "Plain": "password",
}


@pytest.mark.parametrize("types", SCREENS)
def test_vnc(device: Device, types: str) -> None:
    """What a real TigerVNC offers is what is said of it; one that does not run shows nobody the screen."""
    assert look(device, "vnc.password")["absent"]
    device.must(["sh", "-c", "printf '12345678' | vncpasswd -f >/etc/vnc.pass"])
    argv = ["Xtigervnc", ":1", "-rfbport", "5901", "-SecurityTypes", types, "-rfbauth", "/etc/vnc.pass"]
    device.spawn([*argv, "-PlainUsers", "pi", "-pam_service", "login"])
    device.listener(5901, seconds=30)
    assert look(device, "vnc.password") == {
        "live": SCREENS[types],
        "kept": SCREENS[types],
        "cause": "",
        "absent": False,
    }


def test_what_others_use_is_shown_before_anything_begins(device: Device) -> None:
    """A broker that serves the network: `privet setup --preview` names it and how to keep it, and changes nothing."""
    device.write(MAIN, DEBIAN)
    device.write("/etc/mosquitto/conf.d/mine.conf", "listener 1883\nallow_anonymous true\n")
    device.write("/usr/lib/privet/policy.cbor", base64.b64encode(shipped_policy(ROOT, 1_700_000_000)).decode())
    device.must(["sh", "-c", "cd /usr/lib/privet && base64 -d policy.cbor >p && mv p policy.cbor"])
    again(device)
    done = device.run(device.python("-m", "agent", "setup", "--preview"))
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert "Who reaches the MQTT broker mosquitto: now network, then loopback" in said
    assert "sudo privet loosen mosquitto.bind network --for 30d" in said
    assert opens(device)
    assert device.run(["test", "-e", "/etc/privet/device.cbor"]).returncode == 1
