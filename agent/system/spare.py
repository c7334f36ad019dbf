"""Giving back memory that is not needed any more: what a full look leaves free inside this process."""

import ctypes
import fnmatch
import gc
import re


def give_back() -> None:
    """Let go of compiled patterns nobody holds and of rubbish, then give free pages to the kernel (malloc_trim(3))."""
    re.purge()
    patterns = getattr(fnmatch, "_compile_pattern", None)  # a cache of up to 256 compiled ones
    if patterns is not None:
        patterns.cache_clear()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
