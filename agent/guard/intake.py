"""What comes in: readings that are declared, agreed to and readable, reduced to what may leave."""

from collections.abc import Callable, Iterable

from agent.core.cell import reduced
from agent.core.noise import blurred
from agent.core.pace import NONE_TAKEN, Taken, take_one
from agent.core.policy import Policy
from agent.core.telemetry import Message, Sample, TelemetryField, declared
from agent.core.withheld import OUT_OF_RANGE, OVER_RATE, beyond
from agent.guard.windows import Windows
from agent.guard.withheld import Withheld
from agent.system.door import System


class Intake:
    """Minimises; what is kept in figures only waits in its windows, what does not leave is counted."""

    def __init__(self, system: System, withheld: Withheld) -> None:
        self.system = system
        self.withheld = withheld
        self.windows = Windows(self.bits)
        self.taken: dict[str, Taken] = {}

    def accept(
        self, policy: Policy, samples: list[Sample], willing: Callable[[str], None]
    ) -> tuple[int, list[Message]]:
        """Take readings, all or none; return how many are kept, and what of them is to be sealed now.

        `willing` refuses a purpose that the owner does not agree to.
        """
        fields = {name: declared(policy.fields, name) for name in {sample.name for sample in samples}}
        for purpose in {field.purpose for field in fields.values()}:
            willing(purpose)
        whole = [(fields[one.name], one, reduced(fields[one.name], one)) for one in samples]  # refuses what is none
        whole = [row for row in whole if not row[0].most or self.within(row[0], row[1].at)]
        for field, sample, messages in whole:
            if beyond(field, sample, messages[0]):
                self.withheld.note(field.name, OUT_OF_RANGE)
            if field.keep:
                self.windows.count(field, sample)
        now = [one for field, _, messages in whole if not field.keep for one in self.blurred(field, messages)]
        return len(whole), now

    def bits(self, count: int) -> int:
        """Draw so many random bits."""
        size = (count + 7) // 8
        return int.from_bytes(self.system.entropy(size), "big") >> (8 * size - count)

    def blurred(self, field: TelemetryField, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Add the noise that a field declares."""
        return tuple(blurred(field, message, self.bits) if field.noise else message for message in messages)

    def within(self, field: TelemetryField, at: int) -> bool:
        """Take one reading of a field that takes so many in a bucket; False, and counted, when it was one too many."""
        taken = take_one(field, self.taken.get(field.name, NONE_TAKEN), at)
        if taken is None:
            self.withheld.note(field.name, OVER_RATE)
            return False
        self.taken[field.name] = taken
        return True
