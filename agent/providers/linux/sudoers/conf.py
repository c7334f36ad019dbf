"""Where sudo takes its rules from: sudo.conf may name another file or program, nsswitch.conf another place."""

from typing import Any

from agent.system.door import System
from agent.system.seen import text

FILE = "/etc/sudoers"
CONF = "/etc/sudo.conf"
PLACES = ("/usr/libexec/sudo", "/usr/lib/sudo")
OWN_WORDS = ("sudoers_policy", "sudoers_io", "sudoers_audit")
PAM = {"pam_service": "sudo", "pam_login_service": "sudo-i", "pam_askpass_service": "sudo"}


def rules_file(system: System) -> str:
    """Return the file that sudo takes its rules from; as with sudo, the last word on it counts."""
    found = FILE
    for _, _, arguments in parts(text(system, CONF)):
        for key, _, value in (word.partition("=") for word in arguments):
            found = value if key == "sudoers_file" else found
    return found


def elsewhere(system: System) -> str:
    """Say what decides beside /etc/sudoers or in its place, as a sentence; empty on a device as it comes."""
    content = text(system, CONF)
    folder = next((words[2] for words in reversed(lines(content)) if words[:2] == ["path", "plugin_dir"]), PLACES[0])
    for name, path, arguments in parts(content):
        whole = path if path.startswith("/") else f"{folder.rstrip('/')}/{path}"
        if name not in OWN_WORDS or whole not in {f"{place}/sudoers.so" for place in PLACES}:
            return f"{CONF} lets {name} of {whole} decide, which is not looked into; remove that Plugin line"
        for key, _, value in (word.partition("=") for word in arguments):
            if loose(key, value):
                return f"{CONF} says {key}={value}, so not only root may write the rules of sudo; remove it"
    if rules_file(system) != FILE:
        return f"sudo takes its rules from {rules_file(system)}, not from {FILE}; remove sudoers_file from {CONF}"
    other = next((source for source in sources(system) if source != "files"), "")
    return f"sudo also asks {other} for rules (nsswitch.conf), which is not read" if other else ""


def other_service(table: dict[str, Any]) -> str:
    """Say whom of PAM else sudo is told to ask for passwords, as a sentence; empty when it is as it comes."""
    for row in table.get("Defaults", []):
        for key, value in [pair for option in row.get("Options", []) for pair in option.items()]:
            if key in PAM and value not in {"sudo", "sudo-i"}:
                return f"sudo asks for passwords as {value} ({key}), which is not looked into; remove that line"
    return ""


def loose(key: str, value: str) -> bool:
    """Say whether a word lets others than root write the rules; what is no number says nothing, as for sudo."""
    if key in {"sudoers_uid", "sudoers_gid"}:
        return value.isdigit() and int(value) != 0
    return key == "sudoers_mode" and set(value) <= set("01234567") and bool(int(value or "0", 8) & 0o022)


def parts(content: str) -> list[tuple[str, str, list[str]]]:
    """Return the name, the file and the words of every part of sudo that a sudo.conf names."""
    return [(words[1], words[2], words[3:]) for words in lines(content) if words[0] == "plugin"]


def lines(content: str) -> list[list[str]]:
    """Return the words of every line of sudo.conf that has three or more, the first two in small letters."""
    found = []
    for line in content.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 2:
            second = words[1].lower() if words[0].lower() == "path" else words[1]
            found.append([words[0].lower(), second, *words[2:]])
    return found


def sources(system: System) -> list[str]:
    """Return where sudo looks for rules, from nsswitch.conf; files when nothing is said."""
    for line in text(system, "/etc/nsswitch.conf").splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        if key.strip() == "sudoers":
            return [word for word in value.split() if not word.startswith("[")]
    return ["files"]
