"""Knock at a device's doors for as long as it starts: run by Python itself at the neighbour's end of the cable.

`python -m tests.boot.sampler` reads one line of JSON, {"hosts": […], "ports": […]}, knocks at each door over and over
until its input ends, and prints one line of JSON: how often it knocked, and which doors were open how often.
"""

import json
import select
import socket
import sys
from contextlib import suppress

PATIENCE = 0.2  # seconds: a door that drops what comes says nothing


def knock(host: str, port: int) -> bool:
    """Say whether a connection was taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as wire, suppress(OSError):
        wire.settimeout(PATIENCE)
        wire.connect((host, port))
        return True
    return False


def main() -> None:
    """Knock until told to stop."""
    wanted = json.loads(sys.stdin.readline())
    doors = [(host, port) for host in wanted["hosts"] for port in wanted["ports"]]
    rounds, opened = 0, dict.fromkeys((f"{host} {port}" for host, port in doors), 0)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for host, port in doors:
            opened[f"{host} {port}"] += knock(host, port)
        rounds += 1
    print(json.dumps({"rounds": rounds, "open": {door: count for door, count in opened.items() if count}}))


if __name__ == "__main__":
    main()
