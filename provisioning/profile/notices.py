"""What the fleet's policies declare, so that a collector can tell what its readings were agreed to for."""

from contextlib import suppress

from agent.core.catalogue import declared, read_fields, read_purposes
from agent.core.errors import PrivetError
from agent.core.notice import WARNINGS
from agent.core.telemetry import Recipient
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import POLICIES
from provisioning.profile.sign import payload_of, verify

Key = tuple[str, str]


class Notices:
    """Every declaration to a recipient in the policies this fleet ever signed, read as they come; call it.

    Earlier ones count on: a device that was away for months has measured under the policy it had.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._folder = fleet, fleet.safe.directory / POLICIES
        self._seen: set[str] = set()
        self._known: dict[Key, set[bytes]] = {}

    def __call__(self, purpose: str, recipient: str) -> frozenset[bytes] | None:
        """Return the digests of all declarations of a purpose to a recipient; None where no policy was ever kept."""
        if not self._folder.is_dir():
            return None
        for path in self._folder.glob("*/*/*.cbor"):
            if str(path) not in self._seen:
                self._seen.add(str(path))
                with suppress(PrivetError, OSError):  # one that cannot be read declares nothing
                    self._read(path.read_bytes())
        return frozenset(self._known.get((purpose, recipient), ()))

    def _read(self, signed: bytes) -> None:
        verify(signed, (self._fleet.policy_key(),))
        table = payload_of(signed)
        fields = read_fields(table)
        recipients = {row["id"]: Recipient(**row) for row in table["recipients"]}
        for purpose in read_purposes(table):
            rows = tuple(field for field in fields if field.purpose == purpose.id)
            texts = purpose.id == WARNINGS and "mqtt" in table["channels"]
            for one in purpose.recipients:
                digest = declared(purpose, rows, recipients[one], texts)
                self._known.setdefault((purpose.id, one), set()).add(digest)
