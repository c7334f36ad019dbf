"""Units of measurement a telemetry field may use: the SenML registry (RFC 8428 §12.1 and RFC 8798), as data."""

from importlib import resources

KNOWN = frozenset((resources.files("provisioning.profile") / "senml_units.txt").read_text("utf-8").split())

COMMON_SLIPS = {
    "C°": "Cel", "°C": "Cel", "celsius": "Cel", "Celsius": "Cel", "percent": "%", "rh": "%RH", "kPa": "hPa", "sec": "s",
    "seconds": "s", "minutes": "min", "hours": "h", "bytes": "B", "lux": "lx", "watt": "W", "volt": "V", "ampere": "A",
}  # fmt: skip
