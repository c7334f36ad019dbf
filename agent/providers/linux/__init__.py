"""Kinds of settings on Linux, one module each."""
