"""No core files: a process that holds secrets leaves none of them on the disk when it crashes, nor to a debugger."""

import ctypes
import resource

PR_SET_DUMPABLE = 4  # prctl(2)


def none() -> None:
    """Leave no core file from now on, whatever limit or handler somebody sets; programs started later set their own.

    The limit alone is not enough: it can be raised from outside, and a handler of core files is asked regardless.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
