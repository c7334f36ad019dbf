"""The slot of a card that is flashed already: another seed in place of what is there, and nothing else."""

from agent.core.errors import BadCard, Refused
from provisioning.card.seeds import Seeds
from provisioning.card.targets.target import BLOCK, Room, Target, flush, read_all, still, write_all
from provisioning.card.told import ours, state


def injected(target: Target, offset: int, seeds: Seeds) -> tuple[str, str]:
    """Write a fresh seed into the slot at `offset`; return the device, and how the slot stood before.

    The halves are written one after the other, so a cut leaves the former seed or the new one.
    """
    first = target.seen()
    serial = first.serial if first.own else ""
    room = Room(2 * BLOCK)
    read_all(target, offset, room.view)
    before = bytes(room.view)
    ours(before)
    seed = seeds.take(serial)
    if len(seed.slot) != len(before):
        seeds.back(seed)
        raise Refused("the seed does not fit the slot of this card; make the batch again")
    still(target, first)
    seeds.give(seed, serial)
    room.view[:] = seed.slot
    for half in (0, BLOCK):
        write_all(target, offset + half, room.view[half : half + BLOCK])
        flush(target)
    read_all(target, offset, room.view)
    if bytes(room.view) != seed.slot:
        seeds.failed(seed, serial)
        raise BadCard(f"{target.name} does not keep its slot; use another card")
    still(target, first)
    seeds.verified(seed, serial)
    return seed.device, state(before)
