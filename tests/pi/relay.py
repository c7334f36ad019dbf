"""One connection of the emulated network, carried to a port of this machine's loopback: `python relay.py PORT`.

QEMU starts this once for each connection, with the guest's end as standard input. It is the only way out for the guest.
"""

import os
import selectors
import socket
import sys


def carry(guest: int, port: int) -> None:
    """Carry bytes both ways until one end closes."""
    with socket.create_connection(("127.0.0.1", port)) as wire, selectors.DefaultSelector() as either:
        either.register(guest, selectors.EVENT_READ)
        either.register(wire, selectors.EVENT_READ)
        while True:
            for key, _ in either.select():
                if key.fileobj is wire:
                    taken = wire.recv(65536)
                    left = taken
                    while left:
                        left = left[os.write(guest, left) :]
                else:
                    taken = os.read(guest, 65536)
                    wire.sendall(taken)
                if not taken:
                    return


if __name__ == "__main__":
    carry(0, int(sys.argv[1]))
