"""Ways to reach the owner: one file each, found by its name."""
