"""The products that are known, one module each (`Product` in the package above)."""
