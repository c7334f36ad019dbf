"""What this device could see, hear, send and measure with: cameras, microphones, radios, buses and sensors.

A word for each: camera:imx219, camera:usb, microphone:<card>, radio:<interface>, i2c:<bus>, spi:<bus>, w1:<family>,
sensor:<name>, serial:<port>. Hardware is what it is: what is live is what is kept, and nothing here can unplug it; so
it is found and told, and the profile or the owner says what belongs there. A radio that is blocked does not count.
"""

from fnmatch import fnmatchcase

from agent.core.assess import Reading, seen, unread
from agent.core.errors import Missing, PrivetError
from agent.core.order import words
from agent.core.record import Params, Value
from agent.system.door import System

PARAMS: tuple[str, ...] = ()
VIDEO, SOUND, NET, BLUE = "/sys/class/video4linux", "/sys/class/sound", "/sys/class/net", "/sys/class/bluetooth"
# Video nodes that no picture comes in by: codecs and image processors of the board, and the ribbon cable's receiver.
INNER = ("bcm2835-codec*", "bcm2835-isp*", "rpivid*", "rpi-*", "pispbe*", "hantro*", "v4l2loopback*")
RECEIVERS = ("unicam*", "bcm2835-unicam*", "rp1-cfe*", "mmal service*")
# class: pattern of names there, the word for it, how much of the name is left out
PLAIN = (
    ("/sys/class/i2c-dev", "i2c-*", "i2c", 4),
    ("/sys/class/spidev", "spidev*", "spi", 6),
    ("/sys/class/tty", "ttyUSB*", "serial", 0),
    ("/sys/class/tty", "ttyACM*", "serial", 0),
    ("/sys/class/nfc", "nfc*", "radio", 0),
    ("/sys/class/video4linux", "swradio*", "radio", 0),
    ("/sys/class/wwan", "wwan*", "radio", 0),
)


def probe(system: System, params: Params) -> Reading:
    """List what the kernel has found."""
    try:
        found = [*cameras(system), *microphones(system), *radios(system), *others(system)]
    except PrivetError as error:
        return unread(str(error))
    value: Value = words(found)
    return seen(value, value)


def steps(params: Params, option: Value) -> tuple[()]:
    """Nothing: only its owner can unplug it, or say that it belongs there."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where nodes appear when something is plugged in (the kernel sends no news of /sys)."""
    return ("/dev", "/dev/snd")


def names(system: System, directory: str, pattern: str = "*") -> list[str]:
    """Return the names of a pattern in a directory, none when it is not there."""
    try:
        return [name for name in system.entries(directory) if fnmatchcase(name, pattern)]
    except Missing:
        return []


def said(system: System, path: str) -> str:
    """Return the word that a file of the kernel begins with, in small letters; empty when it is not there."""
    try:
        text = system.read(path, 4096).decode("utf-8", "replace").split()
    except Missing:
        return ""
    return "".join(letter for letter in text[0].lower() if letter.isalnum() or letter in "-_.") if text else ""


def cameras(system: System) -> list[str]:
    """Return cameras: sensors at the ribbon cable by their names, and all others."""
    sensors = [said(system, f"{VIDEO}/{name}/name") for name in names(system, VIDEO, "v4l-subdev*")]
    found = [f"camera:{name}" for name in sensors if name and not matches(name, (*INNER, *RECEIVERS))]
    for name in names(system, VIDEO, "video*"):
        called = said(system, f"{VIDEO}/{name}/name")
        if matches(called, RECEIVERS):
            found += [] if found else ["camera:ribbon"]
        elif not matches(called, INNER):
            found.append("camera:usb")
    return found


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Say whether a name is one of these."""
    return any(fnmatchcase(name, pattern.split(" ")[0]) for pattern in patterns)


def microphones(system: System) -> list[str]:
    """Return sound cards that can record."""
    cards = sorted({name[4:].partition("D")[0] for name in names(system, SOUND, "pcmC*D*c")})
    return [f"microphone:{said(system, f'{SOUND}/card{card}/id') or f'card{card}'}" for card in cards]


def radios(system: System) -> list[str]:
    """Return radios that are not blocked."""
    found = [f"radio:{name}" for name in names(system, BLUE, "hci*") if ":" not in name]
    places = {f"radio:{name}": f"{BLUE}/{name}" for name in names(system, BLUE, "hci*") if ":" not in name}
    for name in names(system, NET):
        if names(system, f"{NET}/{name}/phy80211"):
            found.append(f"radio:{name}")
            places[f"radio:{name}"] = f"{NET}/{name}/phy80211"
    return [word for word in found if not blocked(system, places[word])]


def blocked(system: System, place: str) -> bool:
    """Say whether a radio is switched off, by a program or by a switch."""
    for name in names(system, place, "rfkill*"):
        if "1" in (said(system, f"{place}/{name}/soft"), said(system, f"{place}/{name}/hard")):
            return True
    return False


def others(system: System) -> list[str]:
    """Return buses that programs can use, sensors that the kernel reads, and what hangs at them."""
    found = [f"{word}:{name[cut:]}" for place, pattern, word, cut in PLAIN for name in names(system, place, pattern)]
    found += [f"w1:{name.partition('-')[0]}" for name in names(system, "/sys/bus/w1/devices", "[0-9a-f][0-9a-f]-*")]
    for name in names(system, "/sys/bus/iio/devices", "iio:device*"):
        found.append(f"sensor:{said(system, f'/sys/bus/iio/devices/{name}/name') or 'unnamed'}")
    return found
