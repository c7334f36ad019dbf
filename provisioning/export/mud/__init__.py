"""A Manufacturer Usage Description (RFC 8520): what a network may expect of a device and hold it to."""

from provisioning.export.mud.reading import read
from provisioning.export.mud.writing import written

__all__ = ["read", "written"]
