"""A listener on the wire as a process: `sniffer.py INTERFACE PATTERN...` searches every packet until its input ends."""

import json
import selectors
import socket
import struct
import sys

from tests.storm.marks import Search

ALL = 0x0003  # ETH_P_ALL, linux/if_ether.h
PACKET = 263  # SOL_PACKET, linux/socket.h
STATISTICS = 6  # PACKET_STATISTICS, linux/if_packet.h
RCVBUFFORCE = 33  # asm-generic/socket.h
BUFFER = 64 << 20
LARGEST = 1 << 17


def main(interface: str, patterns: list[str]) -> None:
    """Listen, search, count."""
    search = Search({pattern: bytes.fromhex(pattern) for pattern in patterns})
    count = 0
    buffer = bytearray(LARGEST)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, BUFFER)
        ear.bind((interface, 0))
        ear.setblocking(False)
        print(json.dumps({"ready": 1}), flush=True)
        with selectors.DefaultSelector() as selector:
            selector.register(ear, selectors.EVENT_READ)
            over = selector.register(sys.stdin, selectors.EVENT_READ)
            while over not in [key for key, _ in selector.select()]:
                for _ in range(256):
                    try:
                        size, sender = ear.recvfrom_into(buffer)
                    except BlockingIOError:
                        break
                    if sender[2] != socket.PACKET_OUTGOING:  # on a loopback each comes twice
                        count += 1
                        search.look("a packet", bytes(memoryview(buffer)[:size]))
        _, missed = struct.unpack("II", ear.getsockopt(PACKET, STATISTICS, 8))
    print(json.dumps({"packets": count, "missed": missed, "found": search.found, "looked": search.looked}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
