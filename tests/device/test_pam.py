"""Lists of PAM by the hundred: whatever the real libpam lets in without a password, our look at the same files names.

Somebody who knows no password comes to a program as programs come to PAM: through libpam itself, as root for sshd and
login, as the caller with the rights of root for su; and through the real su and sudo for what hangs on who they are.
"""

import json

from tests.device.lab import Device

# Programs' own lists, by name; the last word says whether the real libpam lets somebody in who shows nothing.
STOCK = "@include common-auth\n"
EVERY = ("login", "other", "sshd", "su", "su-l", "sudo", "sudo-i")
ROWS: tuple[tuple[str, dict[str, str], list[str], bool], ...] = (
    ("sshd", {}, [], False),
    ("login", {}, [], False),
    ("su", {}, [], False),
    ("sshd", {"sshd": "auth sufficient pam_permit.so\n" + STOCK}, ["sshd:pam_permit"], True),
    ("sshd", {"sshd": "auth optional pam_permit.so\n" + STOCK}, [], False),
    ("sshd", {"sshd": "auth required pam_permit.so\n"}, ["sshd:pam_permit"], True),
    ("sshd", {"sshd": "account required pam_permit.so\n"}, [], False),
    ("sshd", {"sshd": "", "other": "auth required pam_permit.so\n"}, ["other:pam_permit", "sshd:pam_permit"], True),
    ("sshd", {"sshd": "auth sufficient pam_rootok.so\n" + STOCK}, ["sshd:pam_rootok"], True),
    ("login", {"login": "auth sufficient pam_rootok.so\n" + STOCK}, ["login:pam_rootok"], True),
    ("su", {"su": "auth sufficient pam_permit.so\n" + STOCK}, ["su-l:pam_permit", "su:pam_permit"], True),
    ("su", {"su": "auth sufficient pam_wheel.so trust group=sudo\n" + STOCK}, ["su-l:pam_wheel", "su:pam_wheel"], True),
    ("su", {"su": "auth required pam_wheel.so group=sudo\n" + STOCK}, [], False),
    ("su", {"su": "auth sufficient pam_exec.so /bin/true\n" + STOCK}, ["su-l:pam_exec", "su:pam_exec"], True),
    ("su", {"su": "auth optional pam_exec.so /bin/true\n" + STOCK}, [], False),
    ("su", {"su": "auth sufficient pam_succeed_if.so user = root\n" + STOCK},
     ["su-l:pam_succeed_if", "su:pam_succeed_if"], True),
    ("su", {"su": "auth [success=2 default=ignore] pam_localuser.so\n" + STOCK},
     ["su-l:pam_localuser", "su:pam_localuser"], True),
    ("login", {"login": "auth sufficient pam_succeed_if.so user ingroup nopasswdlogin\n" + STOCK}, [], False),
    ("login", {"login": "auth requisite pam_nologin.so\nauth optional pam_faildelay.so\n"}, [], False),
    ("login", {"login": "auth requisite pam_nologin.so successok\n"}, ["login:pam_nologin"], True),
    ("login", {"login": "auth required pam_securetty.so noconsole\n@include gone\n"}, [], False),
    ("login", {"login": "auth substack free\n" + STOCK, "free": "auth sufficient pam_permit.so\n"}, [], False),
    ("login", {"login": "auth include free\n" + STOCK, "free": "auth sufficient pam_permit.so\n"},
     ["login:pam_permit"], True),
    ("login", {"common-auth": "auth [success=1 default=ignore] pam_unix.so nullok\nauth required pam_permit.so\n"},
     [f"{one}:pam_permit" for one in EVERY], True),
    ("login", {"common-auth": "auth [default=1] pam_unix.so\nauth required pam_deny.so\nauth optional pam_permit.so\n"},
     [f"{one}:pam_permit" for one in EVERY], True),
    ("login", {"common-auth": "auth optional pam_unix.so\n"}, [], False),
    ("login", {"login": "auth enough pam_permit.so\n"}, [], False),
    ("login", {"login": "auth requisite\nauth required pam_permit.so\n"}, [], False),
    ("login", {"login": "auth sufficient \\\n  pam_permit.so # all\n" + STOCK}, ["login:pam_permit"], True),
    ("login", {"login": "AUTH Sufficient /lib/x86_64-linux-gnu/security/pam_permit.so\n" + STOCK},
     ["login:pam_permit"], True),
)  # fmt: skip
CONTROLS = (
    "required", "requisite", "sufficient", "optional", "[success=1 default=ignore]", "[success=ok default=bad]",
    "[success=done auth_err=die default=reset]", "[default=1]", "[success=done]",
    "[ignore=ok success=reset default=ok]",
)  # fmt: skip
MODULES = ("pam_permit.so", "pam_deny.so", "pam_unix.so", "pam_debug.so auth=ignore", "pam_debug.so auth=perm_denied")
STRIDE, MOST, LENGTH = 15_485_863, 400, 5
CLIENT = """
import ctypes, ctypes.util, json, os, pwd, subprocess, sys
from agent import registry
from agent.system.real import RealSystem
pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
libc.calloc.restype, libc.strdup.restype = ctypes.c_void_p, ctypes.c_void_p
ASK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
class Answer(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]
class Talk(ctypes.Structure):
    _fields_ = [("ask", ASK), ("own", ctypes.c_void_p)]
@ASK
def ask(count, _said, out, _own):
    out[0] = libc.calloc(count, ctypes.sizeof(Answer))
    for one in (Answer * count).from_address(out[0]):
        one.text = libc.strdup(b"no password of anybody")
    return 0
FAIL_DELAY, at_once = 10, ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)(lambda *_: None)
def lets_in(service, user="root"):
    caller = pwd.getpwnam("pi").pw_uid if service.startswith("su") else 0
    os.setresuid(caller, 0, 0)
    talk, handle = Talk(ask, None), ctypes.c_void_p()
    code = pam.pam_start(service.encode(), user.encode(), ctypes.byref(talk), ctypes.byref(handle))
    if code == 0:
        pam.pam_set_item(handle, FAIL_DELAY, at_once)
        code = pam.pam_authenticate(handle, 0)
        pam.pam_end(handle, code)
    os.setresuid(0, 0, 0)
    return code == 0
def reading():
    setting = registry.settings()["login.unasked"]
    return registry.provider(setting.provider).probe(RealSystem(), setting.params)
"""
TRY = f"""{CLIENT}
told = []
for service, files in json.loads(sys.argv[1]):
    kept = {{}}
    for name, text in files.items():
        path = "/etc/pam.d/" + name
        kept[path] = open(path).read() if os.path.exists(path) else None
        open(path, "w").write(text)
    found = reading()
    told.append([lets_in(service), found.live, found.cause])
    for path, text in kept.items():
        open(path, "w").write(text) if text is not None else os.remove(path)
print(json.dumps(told))
"""


def mixed() -> list[tuple[str, dict[str, str]]]:
    """Return lists of five modules each, every second one with three of them in a list of its own."""
    made = []
    for place in range(MOST):
        number, rows = place * STRIDE, []
        for _ in range(LENGTH):
            number, control = divmod(number, len(CONTROLS))
            number, module = divmod(number, len(MODULES))
            rows.append(f"auth {CONTROLS[control]} {MODULES[module]}\n")
        how = ("include", "substack")[place % 2]
        whole = {"login": "".join(rows)}
        inner = {"login": f"{rows[0]}auth {how} inner\n{rows[4]}", "inner": "".join(rows[1:4])}
        made.append(("login", inner if place % 4 > 1 else whole))
    return made


def test_each_way_of_letting_everybody_in_is_named(quick: Device) -> None:
    """What the real libpam does with each list is what we say of it, by the module's name; stock lists are fine."""
    told = quick.ask(TRY, json.dumps([(service, files) for service, files, _, _ in ROWS]))
    for (service, files, live, lets), said in zip(ROWS, told, strict=True):
        assert (said[0], sorted(said[1]), said[2]) == (lets, sorted(live), ""), (service, files, said)


def test_lists_of_every_shape_are_followed_as_libpam_does(quick: Device) -> None:
    """For hundreds of lists of jumps, resets and inner lists, we say that one opens exactly where libpam opens."""
    cases = mixed()
    told = quick.ask(TRY, json.dumps(cases))
    wrong = [
        (files, said) for (_, files), said in zip(cases, told, strict=True) if said[0] != ("login:" in str(said[1]))
    ]
    assert not wrong, wrong[:3]
    assert 40 < sum(lets for lets, _, _ in told) < MOST - 40


def test_modules_without_an_opinion_have_none(quick: Device) -> None:
    """Each module that is taken to say nothing, or to ask, does not let anybody in by itself in the real libpam."""
    source = f"""{CLIENT}
import glob
from agent.providers.linux.pam import ASKS, SILENT
opened = []
names = [os.path.basename(path)[:-3] for path in glob.glob("/lib/*/security/*.so")]
found = sorted(set(names) & (ASKS | SILENT))
for name in found:
    open("/etc/pam.d/login", "w").write(f"auth required {{name}}.so\\n")
    opened += [name] if lets_in("login") else []
print(json.dumps([found, opened]))
"""
    found, opened = quick.ask(source)
    assert len(found) > 8
    assert opened == []


def test_sudo_and_su_are_judged_as_who_they_are(quick: Device) -> None:
    """A line that lets root in lets nobody in by su and sudo, which ask as their caller; one that agrees, everybody."""
    look = f"{CLIENT}\nprint(json.dumps(reading().live))"
    for argv, program in ((["sudo", "-k", "-S", "/usr/bin/true"], "sudo"), (["su", "-c", "true"], "su")):
        for module, opens in (("pam_deny", False), ("pam_rootok", False), ("pam_permit", True)):
            quick.write(f"/etc/pam.d/{program}", f"auth sufficient {module}.so\n{STOCK}")
            done = quick.run(["runuser", "-u", "pi", "--", *argv], b"no password\n")
            named = [word for word in quick.ask(look) if word.startswith(f"{program}:")]
            assert (done.returncode == 0, named) == (opens, [f"{program}:{module}"] if opens else [])


def test_an_account_without_a_password_is_another_finding(quick: Device) -> None:
    """Debian's own list lets in whoever has no password at all: said of the account, and not of every device."""
    quick.must(["passwd", "-d", "pi"])
    source = f"""{CLIENT}
setting = registry.settings()["accounts.known_password"]
accounts = registry.provider(setting.provider).probe(RealSystem(), setting.params)
print(json.dumps([lets_in("login", "pi"), reading().live, accounts.live]))
"""
    lets, lists, accounts = quick.ask(source)
    assert lets
    assert lists == []
    assert "pi:blank" in accounts


def test_a_module_that_nobody_knows_is_never_taken_to_ask(quick: Device) -> None:
    """A module of another maker whose word would be enough makes the answer unknown, and the program is named."""
    quick.must(["sh", "-c", "cp /lib/*/security/pam_permit.so /lib/$(uname -m)-linux-gnu/security/pam_odd.so"])
    told = quick.ask(TRY, json.dumps([("sshd", {"sshd": f"auth sufficient pam_odd.so\n{STOCK}"})]))
    assert told == [[True, None, "sshd may also let people in by pam_odd.so, which is not looked into"]]
