"""Brokers by configuration: how ours is set up, run and tried."""
