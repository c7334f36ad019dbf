"""Kinds of factory credentials, one file each: how to find one, replace it, and prove that the old one is dead."""
