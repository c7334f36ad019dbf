"""The error tree: who is at fault decides the class, and each class has an exit code of its own.

PrivetError
├── BadInput          (65)  something given to us cannot be read
│   ├── BadPolicy     (10)  unsigned, damaged, oversized or malformed policy
│   │   ├── OldPolicy     (11)  its sequence number is not newer
│   │   ├── ExpiredPolicy (12)  its time is over
│   │   └── WrongDevice   (13)  it was made for another device or class
│   ├── UnknownSetting (14)
│   └── UnknownField   (15)
├── Refused           (77)  understood, and not allowed
│   ├── NotConsented  (16)  the owner has not agreed to this purpose
│   ├── LockOut       (17)  it would cut the owner's only way in
│   └── WrongDisk     (30)  a disk that must not be written
├── Tampered          (18)  a record does not match its seal or its chain
├── Unreachable       (69)  the guard, the broker or a program is not there
├── Missing           (66)  a file or object is not there
├── Unreadable        (74)  it is there and the OS will not give or take it
└── Failed            (70)  a step or program did not do its work
    ├── BadCard       (31)  a card does not keep what is written to it
    └── CardGone      (32)  a card was taken out or exchanged meanwhile
"""


class PrivetError(Exception):
    """One sentence: what happened and what to do next."""

    exit_code = 1


class BadInput(PrivetError):
    """Something given to us cannot be read."""

    exit_code = 65


class BadPolicy(BadInput):
    """A policy that is unsigned, damaged, oversized or malformed."""

    exit_code = 10


class OldPolicy(BadPolicy):
    """A policy whose sequence number is not newer than the one in force."""

    exit_code = 11


class ExpiredPolicy(BadPolicy):
    """A policy whose time is over."""

    exit_code = 12


class WrongDevice(BadPolicy):
    """A policy made for another device, class or fleet."""

    exit_code = 13


class UnknownSetting(BadInput):
    """No setting has this name."""

    exit_code = 14


class UnknownField(BadInput):
    """No telemetry field with this name is declared."""

    exit_code = 15


class Refused(PrivetError):
    """Understood, and not allowed."""

    exit_code = 77


class NotConsented(Refused):
    """The owner has not agreed to this purpose."""

    exit_code = 16


class LockOut(Refused):
    """The change would cut the owner's only way in."""

    exit_code = 17


class WrongDisk(Refused):
    """A disk that must not be written."""

    exit_code = 30


class Tampered(PrivetError):
    """A record does not match its seal or its chain."""

    exit_code = 18


class Unreachable(PrivetError):
    """The guard, the broker or a program we need is not there."""

    exit_code = 69


class Missing(PrivetError):
    """A file or object is not there."""

    exit_code = 66


class Unreadable(PrivetError):
    """A file or object is there and the system will not give or take it."""

    exit_code = 74


class Failed(PrivetError):
    """A step or a program did not do its work."""

    exit_code = 70


class BadCard(Failed):
    """A card does not keep what is written to it."""

    exit_code = 31


class CardGone(Failed):
    """A card was taken out or exchanged while it was written."""

    exit_code = 32
