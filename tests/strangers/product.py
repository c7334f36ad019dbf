"""Somebody gives Grafana a key of its own, or takes it away."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

INI, UNIT = "/etc/grafana/grafana.ini", "grafana-server.service"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Write the file anew and start it again."""
    assert params["what"] == "secret_key"
    key = "secret_key = 5up3r-own\n" if value == "own" else ";secret_key = SW2YcwTIb9zpOOhoPsMm\n"
    device.edit(INI, f"[server]\n;http_addr =\n[security]\n{key}".encode(), mode=0o640)
    assert device.run(("systemctl", "restart", UNIT)).code == 0
