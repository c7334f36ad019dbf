"""Programs that let people in, or let them do everything, without having asked for anything they know or have.

Nearly every program on Linux that asks for a password leaves that to PAM, whose lists in /etc/pam.d say what is asked.
One line too many there, or one too few, and sshd, login, su or sudo let everyone in. The value is the set of words
`program:module`: whose word was enough. Only lists of programs that are there to ask are looked at, so none of those
that sign somebody in by themselves (`login.desktop`); `other` stands for all programs without a list of their own.

Told and not undone: lists belong together, and a wrong one locks everybody out. A list is read at each sign-in, so
live is kept. An account that has no password at all is the matter of `accounts.known_password`, whatever PAM makes of
it. A module nobody knows here may ask for something or not: where its word alone would do, the answer is unknown.
"""

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.providers.linux.pam.stack import IGNORE, SUCCESS, Entry, entries, opened
from agent.system.door import System
from agent.system.parts import Step
from agent.system.seen import content, there
from agent.system.seen import text as text_of

PARAMS = ("programs",)
FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d")
OTHER = "other"
REFUSED = "auth_err"
REFUSES = (REFUSED, "user_unknown", "authinfo_unavail")
MAYBE = (SUCCESS, IGNORE, REFUSED)
# They never agree for somebody who has nothing to show.
ASKS = frozenset((
    "pam_deny", "pam_unix", "pam_unix2", "pam_pwdb", "pam_sss", "pam_ldap", "pam_krb5", "pam_winbind", "pam_userdb",
    "pam_u2f", "pam_fprintd", "pam_google_authenticator", "pam_oath", "pam_yubico", "pam_radius_auth", "pam_tacplus",
    "pam_ssh_agent_auth", "pam_pkcs11", "pam_p11", "pam_poldi", "pam_systemd_home", "pam_duo", "pam_usb", "pam_otpw",
    "pam_barada", "pam_himmelblau",
))  # fmt: skip
LENIENT = frozenset({"pam_u2f", "pam_google_authenticator"})  # they can be told not to mind who has nothing of it
# They have no opinion on who somebody is.
SILENT = frozenset((
    "pam_faildelay", "pam_group", "pam_env", "pam_warn", "pam_issue", "pam_mail", "pam_cap", "pam_keyinit",
    "pam_ssh_add", "pam_gdm", "pam_motd", "pam_limits",
))  # fmt: skip
ANYBODY = frozenset({"pam_permit", "pam_rootok", "pam_debug"})
# Conditions that anybody may meet, or that cannot be judged from here: they ask for nothing all the same.
CONDITIONS = frozenset((
    "pam_succeed_if", "pam_exec", "pam_listfile", "pam_access", "pam_wheel", "pam_localuser", "pam_usertype",
    "pam_shells", "pam_securetty", "pam_rhosts", "pam_timestamp", "pam_ftp", "pam_faillock", "pam_tally2", "pam_time",
    "pam_echo", "pam_sepermit", "pam_selinux", "pam_lastlog", "pam_gnome_keyring", "pam_kwallet", "pam_kwallet5",
    "pam_mount", "pam_ecryptfs", "pam_fscrypt", "pam_nologin",
))  # fmt: skip
# These run as whoever calls them; all others run as root and would find themselves to be root.
AS_CALLER = ("su", "su-l", "sudo", "sudo-i", "polkit-1")


def probe(system: System, params: Params) -> Reading:
    """Follow the list of every program that is to ask."""
    try:
        if not there(system, FOLDERS[0]):
            return absent("this device does not use PAM, or not the way Debian does")
        programs = params["programs"]
        known: set[str] = set()
        doubts: list[str] = []
        for program in (*programs, OTHER) if isinstance(programs, tuple) else ():
            sure, unsure = ways_in(system, program)
            known |= {f"{program}:{module}" for module in sure}
            doubts += [f"{program} may also let people in by {module}, which is not looked into" for module in unsure]
        value: Value = words(known)
    except PrivetError as error:
        return unread(str(error))
    return unread(doubts[0], kept=value) if doubts else seen(value, value)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Change nothing."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where the lists are, and /etc for the groups that they name."""
    return ("/etc", *FOLDERS)


def ways_in(system: System, program: str) -> tuple[set[str], list[str]]:
    """Return the modules whose word lets somebody in who shows nothing, and those nobody knows that may."""
    if list_of(system, program) is None:
        return set(), []
    found = entries(lambda name: list_of(system, name), program)
    if not found:
        found = entries(lambda name: list_of(system, name), OTHER)  # a list without a word on it
    sure: set[str] = set()
    unsure: set[str] = set()
    for by in opened(found, lambda entry: answers(system, program, entry)):
        strange = {module for module in by if not known(module)}
        names = {bare(module) for module in by}
        said = (names - ANYBODY) or names  # the condition is the reason, not the line that agrees after it
        unsure |= strange
        sure |= set() if strange else said
    return sure, sorted(unsure)


def list_of(system: System, program: str) -> str | None:
    """Return a list by its name: the device's own, else the one a package brought; None without either."""
    for folder in FOLDERS:
        raw = content(system, f"{folder}/{program}")
        if raw is not None:
            return raw.decode("utf-8", "replace")
    return None


def answers(system: System, program: str, entry: Entry) -> tuple[str, ...]:
    """Return what a module may answer for somebody who shows nothing."""
    name, said = bare(entry.module), set(entry.words)
    if entry.module and not known(entry.module):
        return MAYBE
    if name in {"pam_deny", "pam_unix"} or (name == "pam_rootok" and program in AS_CALLER):
        return (REFUSED,)
    if not name or name in ASKS:
        return (SUCCESS, *REFUSES) if name in LENIENT and said & {"nouserok", "nullok"} else REFUSES
    if name in SILENT or (name == "pam_nologin" and "successok" not in said):
        return (IGNORE,)
    if name == "pam_wheel" and "trust" not in said:
        return (IGNORE, "perm_denied")
    if name in ANYBODY:
        return (next((word[5:] for word in entry.words if word.startswith("auth=")), SUCCESS),)
    return (REFUSED,) if nobody_meets(system, name, entry.words) else MAYBE


def nobody_meets(system: System, name: str, said: tuple[str, ...]) -> bool:
    """Say whether a condition is to be in a group that has nobody in it: desktops come with such a line."""
    for place in range(len(said) - 2 if name == "pam_succeed_if" else 0):
        if said[place : place + 2] == ("user", "ingroup"):
            return not members(system, said[place + 2])
    return False


def members(system: System, group: str) -> bool:
    """Say whether a group, or one of several between colons, has somebody in it: by its row or as a first group."""
    accounts = [line.split(":") for line in text_of(system, "/etc/passwd").splitlines()]
    first = {row[3] for row in accounts if len(row) > 3}
    rows = [line.split(":") for line in text_of(system, "/etc/group").splitlines()]
    named = [row for row in rows if len(row) > 3 and row[0] in group.split(":")]
    return any(row[3].strip() or row[2] in first for row in named)


def known(module: str) -> bool:
    """Say whether a module is one of those whose answers are known, from where packages put them."""
    place = module.rpartition("/")[0]
    plain = not place.startswith("/") or place.startswith(("/lib/", "/usr/lib/")) or place in {"/lib", "/usr/lib"}
    return plain and bare(module) in ASKS | SILENT | ANYBODY | CONDITIONS


def bare(module: str) -> str:
    """Return the name of a module."""
    return module.rpartition("/")[2].removesuffix(".so")
