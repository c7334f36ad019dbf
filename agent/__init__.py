"""Privet's device agent: ships a device private, keeps it private, tells its owner when that changes."""

VERSION = "0.1.0"
