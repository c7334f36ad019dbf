"""Programs that begin to wait on the network: each word of the value is one process with one socket."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.sockets import listen


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Stop what waits now, SSH included, and start a program for each word."""
    for process in device.processes:
        device.stop(process.pid)
    device.hand.discard("/etc/systemd/system/multi-user.target.wants/ssh.service")
    for word in value if isinstance(value, tuple) else ():
        where, _, program = word.partition(":")
        protocol, _, rest = where.partition("/")
        process = device.start((f"/usr/sbin/{program}",), None)
        device.hand.link(f"/proc/{process.pid}/exe", f"/usr/sbin/{program}")
        listen(device, process, protocol, int(rest.partition("@")[0]))
    device.tick(120)
