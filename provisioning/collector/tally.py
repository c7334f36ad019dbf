"""What a collector counts."""


class Tally:
    """What has happened since the collector started, in numbers of messages."""

    __slots__ = ("duplicates", "early", "foreign", "forked", "refused", "stored", "unnoticed", "untold", "withdrawn")

    def __init__(self) -> None:
        self.stored = 0  # new records
        self.duplicates = 0  # had already
        self.early = 0  # came before their key record
        self.foreign = 0  # not sealed to us
        self.forked = 0  # another record under a number that is taken: a cloned device, or a forger
        self.refused = 0  # damaged, changed or no record at all
        self.untold = 0  # their device tells nothing of the owner's consent
        self.withdrawn = 0  # the owner has taken back the consent they were sealed under
        self.unnoticed = 0  # agreed to by another notice than any that is in force here
