"""How OpenSSH cuts a configuration line into words (misc.c: strdelim and argv_split; servconf.c)."""

BLANK = " \t\r\n"
AFTER = BLANK + "\f"  # at the end of a line

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


def token(text: str) -> tuple[str, str]:
    """Cut off what stands before a blank, a sign of equality or a quoted part, which still belongs to it."""
    place = next((n for n, letter in enumerate(text) if letter in BLANK + '="'), len(text))
    if text[place : place + 1] == '"':
        end = text.find('"', place + 1)
        return ("", "") if end < 0 else (text[:place] + text[place + 1 : end], text[end + 1 :].lstrip(BLANK))
    rest = text[place + 1 :].lstrip(BLANK)
    if rest[:1] == "=" and text[place] != "=":
        rest = rest[1:].lstrip(BLANK)
    return text[:place], rest


def statement(line: str) -> tuple[str, str]:
    """Split a line into its keyword (lower case, present name) and the rest; ("", "") for a comment or a blank line."""
    keyword, rest = token(line.rstrip(AFTER))
    if not keyword:  # blanks before it, or a sign of equality that means nothing
        keyword, rest = token(rest)
    return ("", "") if keyword.startswith("#") or not keyword else (canonical(keyword), rest)


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
        elif letter in " \t":
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
