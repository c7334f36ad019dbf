"""How OpenSSH cuts a configuration line into words (misc.c: strdelim and argv_split; servconf.c)."""

import re

BLANK = " \t\r\n\f"
KEYWORD = re.compile(r'[ \t\r]*(?:"([^"]*)"|([^\s="]+))(?:[ \t]*=[ \t]*|[ \t]+|$)(.*)', re.DOTALL)

# Old names that today's sshd still takes for a keyword we care about.
ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
}


def canonical(keyword: str) -> str:
    """Return a keyword as `sshd -T` prints it: lower case, under its present name."""
    low = keyword.lower()
    return ALIASES.get(low, low)


def statement(line: str) -> tuple[str, str]:
    """Split a line into its keyword (lower case, present name) and the rest; ("", "") for a comment or a blank line."""
    found = KEYWORD.match(line.rstrip(BLANK))
    if found is None:
        return "", ""
    keyword = found.group(1) if found.group(1) is not None else found.group(2)
    return ("", "") if keyword.startswith("#") or not keyword else (canonical(keyword), found.group(3))


def arguments(rest: str) -> tuple[str, ...]:
    """Cut the rest of a line into arguments: quotes of both kinds, backslash escapes, a comment ends it."""
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    place = 0
    while place < len(rest):
        letter = rest[place]
        following = rest[place + 1 : place + 2]
        if letter == "\\" and (following in {'"', "'", "\\"} or (not quote and following == " ")):
            word = [*(word or []), following]
            place += 1
        elif quote:
            quote = "" if letter == quote else quote
            if quote:
                word = [*(word or []), letter]
        elif letter in {'"', "'"}:
            quote, word = letter, word or []
        elif letter in BLANK:
            if word is not None:
                found.append("".join(word))
            word = None
        elif letter == "#" and word is None:
            break
        else:
            word = [*(word or []), letter]
        place += 1
    if word is not None:
        found.append("".join(word))
    return tuple(found)


def criteria(rest: str) -> tuple[str, ...]:
    """Cut a Match line into words: separated by blanks or one `=`, double quotes hold a word together."""
    found: list[str] = []
    place = 0
    while place < len(rest):
        if rest[place] in BLANK:
            place += 1
        elif rest[place] == "#":
            break
        elif rest[place] == '"':
            end = rest.find('"', place + 1)
            end = len(rest) if end < 0 else end
            found.append(rest[place + 1 : end])
            place = end + 1
        else:
            start = place
            while place < len(rest) and rest[place] not in BLANK + '="':
                place += 1
            found.append(rest[start:place])
            while place < len(rest) and rest[place] in BLANK:
                place += 1
            if place < len(rest) and rest[place] == "=":
                place += 1
    return tuple(found)
