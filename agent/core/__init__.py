"""Every decision of the agent: pure, integers only, the same on CPython and MicroPython."""
