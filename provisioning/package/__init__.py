"""The Debian package of the device's half: what `make deb` runs."""
