"""The `privet` command: the owner's way to look, loosen and tighten."""
