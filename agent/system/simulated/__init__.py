"""A device in memory: a disk that forgets what was not synced, programs that behave, clocks that obey."""

from agent.system.simulated.disk import KEPT, LOST, TORN, Pending, PowerCut
from agent.system.simulated.system import Process, SimulatedSystem

__all__ = ["KEPT", "LOST", "TORN", "Pending", "PowerCut", "Process", "SimulatedSystem"]
