"""Times as the owner reads them: in the zone of the device (or of who asks, by TZ), with its name; machines get UTC.

Reckoned by hand: `calendar` and `strptime` bring a megabyte into a guard that stays.
"""

import re
import time

FORM = "%Y-%m-%d %H:%M"
SAID = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d) UTC")


def moment(wall: int, form: str = FORM) -> str:
    """Write a time with the name of its zone; a zone that was set meanwhile counts."""
    time.tzset()
    return time.strftime(f"{form} %Z", time.localtime(wall))


def local(text: str) -> str:
    """Write the times in a sentence that says them in UTC as the owner reads them."""
    return SAID.sub(lambda at: moment(since_1970(*map(int, at.groups()))), text)


def since_1970(year: int, month: int, day: int, hour: int, minute: int) -> int:
    """Return the seconds of a time in UTC; years that begin in March have their odd day at the end."""
    year, month = (year, month) if month > 2 else (year - 1, month + 12)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day
    return (days - 719_469) * 86_400 + hour * 3600 + minute * 60
