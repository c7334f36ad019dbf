"""The `privet-fleet` command: one module per group of verbs, loaded only when asked for."""
