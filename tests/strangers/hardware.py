"""Plugging hardware in and out of a simulated device."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

SHOWN = {
    "i2c:1": "/sys/class/i2c-dev/i2c-1/name",
    "sensor:bme280": "/sys/bus/iio/devices/iio:device0/name",
    "serial:ttyUSB0": "/sys/class/tty/ttyUSB0/dev",
    "radio:swradio0": "/sys/class/video4linux/swradio0/name",
    "radio:hci0": "/sys/class/bluetooth/hci0/address",
    "radio:wlan0": "/sys/class/net/wlan0/phy80211/name",
    "microphone:device": "/sys/class/sound/pcmC1D0c/dev",
    "camera:usb": "/sys/class/video4linux/video0/name",
    "camera:imx219": "/sys/class/video4linux/v4l-subdev0/name",
}


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Let exactly this hardware be there."""
    for folder in ("bus", "class"):
        device.hand.discard(f"/sys/{folder}")
    device.plugged.clear()
    for word in value if isinstance(value, tuple) else ():
        device.plugged.add(word)
        name = word.partition(":")[2]
        device.hand.produced(SHOWN[word], f"{name if word != 'camera:usb' else 'HD Webcam'}\n".encode)
        if word == "microphone:device":
            device.hand.produced("/sys/class/sound/card1/id", b"Device\n".strip)
