"""Simulated devices that run the real guard and the real link, against a real broker."""
