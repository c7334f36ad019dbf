"""Kinds of settings, one module each, by platform."""
