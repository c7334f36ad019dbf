"""The twins that are known to be bad: each breaks one promise, and the same run finds it out."""

import socket
import threading
from pathlib import Path

from provisioning.broker.mosquitto import free_port
from provisioning.simulate.child import Child
from tests.storm.marks import Search, drawn
from tests.storm.storm import History, Plan, Shape, Storm

SMALL = Shape(crowded=12, crowds=2, alone=0, full=0, broken=0)


def run(place: Path, seed: str, twin: str) -> History:
    """Run a small storm in which the receiving side is killed, with what it has taken and not yet handed on."""
    faults = ("site killed", "broker killed")
    plan = Plan(
        seed=seed, readings=6000, shape=SMALL, seconds=24, saved=1, faults=faults, least={faults[0]: 1}, twin=twin
    )
    history = Storm(place, plan).run()
    print(history)
    assert history.fired["site killed"] >= 1
    return history


def test_the_same_small_storm_loses_nothing(place: Path, seed: str):
    """Without a twin in it, the small storm ends as the large one does: what the twins show is theirs."""
    history = run(place, seed, "")
    assert (history.lost, history.doubled, history.odd, history.waiting, history.found) == ((), (), (), 0, {})


def test_taking_puback_for_delivery_loses(place: Path, seed: str):
    """Letting go of what the broker has acknowledged loses what the broker loses."""
    assert run(place, seed, "puback").lost != ()


def test_a_collector_that_forgets_what_it_has_doubles(place: Path, seed: str):
    """Handing on what arrives, without a look at what is there, hands readings on twice."""
    assert run(place, seed, "forgetful").doubled != ()


def test_what_is_not_sealed_is_found(place: Path, seed: str):
    """An agent that seals no record is found out by every mark, on the device, at the broker and by an onlooker."""
    found = run(place, seed, "plain").found
    for where in ("a device's disk", "the broker's store", "the onlooker"):
        assert {f"{mark} in {where}" for mark in ("value", "name", "text")} <= set(found), where


def test_what_goes_over_a_line_in_the_open_is_found(tmp_path: Path, seed: str):
    """The ears on the line and on the wire hear every mark that is said aloud."""
    marks = drawn()
    patterns = Search(marks.patterns()).patterns
    hexed = [pattern.hex() for pattern in patterns.values()]
    far = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        proxy = Child("proxy", tmp_path / "proxy", "tests.storm.proxy", seed, str(far), port, *hexed)
        sniffer = Child("sniffer", tmp_path / "sniffer", "tests.storm.sniffer", "lo", *hexed)
        for child in (proxy, sniffer):
            child.start()
            while not child.ready:
                assert child.alive, child.log.read_text()
        taken: list[bytes] = []

        def take() -> None:
            with server.accept()[0] as end:
                while piece := end.recv(65536):
                    taken.append(piece)

        taking = threading.Thread(target=take)
        taking.start()
        said = b" ".join(patterns.values())
        proxy.tell("calm")
        with socket.create_connection(("127.0.0.1", far)) as aloud:
            aloud.sendall(said)
            while b"".join(taken) != said:
                assert taking.is_alive()
        taking.join()
        heard = [set(child.stop()["found"]) for child in (proxy, sniffer)]
    assert heard == [{f"{h} in the line" for h in hexed}, {f"{h} in a packet" for h in hexed}]
