"""The guard and the courier at rest, at work and when asked, on a light device with real daemons."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning.package.tree import LIBRARY
from tests.bench.figures import Figures, children, three
from tests.device import tree
from tests.device.lab import AGENT, PACKAGES, Lab
from tests.device.whole import Whole

REST = 60  # seconds until "at rest"
EDITS = 200
PYTHON = ["/usr/bin/python3", "-BS", "-X", "no_debug_ranges"]  # as the service units start it
ENVIRONMENT = ["env", f"PYTHONPATH={AGENT}:{PACKAGES}", "PYTHONPYCACHEPREFIX=/var/cache/pyc"]
SHIPPED = ["env", f"PYTHONPATH=/{LIBRARY}:{PACKAGES}"]
# What the package does with our own modules, and the programs it starts them by.
LAY = f"""
mkdir -p /{LIBRARY}
cp -r {AGENT}/agent {AGENT}/provisioning/package/privet-guard {AGENT}/provisioning/package/privet-courier /{LIBRARY}/
find /{LIBRARY} -name __pycache__ -prune -exec rm -r {{}} +
PYTHONHASHSEED=0 python3 -X no_debug_ranges -PBSs {AGENT}/provisioning/package/compiled.py 0 /{LIBRARY} /{LIBRARY}
"""


class Served(Whole):
    """A whole device whose processes start as the service units start them, from files as the package ships them."""

    def start(self) -> None:
        """Start the guard twice: the first start does the first boot, the second is what is measured."""
        self.device.must(["sh", "-ec", LAY], seconds=120)
        self.run("agent.guard")
        self.stop()
        self.run("agent.guard")

    def run(self, module: str) -> None:
        """Start the guard and wait for it."""
        program = f"/{LIBRARY}/privet-{module.rpartition('.')[2]}"
        self.guard = self.device.spawn([*SHIPPED, *PYTHON, program])
        self.until(lambda: self.ask("version")["ok"], 60, "the guard to answer")

    def deliver(self) -> None:
        """Start the courier, twice for the same reason."""
        for _ in range(2):
            if self.courier is not None:
                self.device.must(["kill", str(self.pid("agent.courier"))])
                self.courier.wait()
            program = f"/{LIBRARY}/privet-courier"
            self.courier = self.device.spawn([*SHIPPED, *PYTHON, program, "--user", "privet"])
            self.until(lambda: self.ask("status")["link"]["state"] == "connected", 30, "the courier to connect")

    def pid(self, module: str) -> int:
        """Return the pid of one of our processes."""
        program = f"/{LIBRARY}/privet-{module.rpartition('.')[2]}"
        return int(self.device.must(["pgrep", "-o", "-f", f"python3 -BS -X no_debug_ranges {program}"]).split()[0])

    def pss(self, pid: int) -> float:
        """Return the proportional set size in MB (proc(5), smaps_rollup)."""
        text = self.device.read(f"/proc/{pid}/smaps_rollup")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024

    def cpu(self, pid: int) -> float:
        """Return the CPU seconds of a process and its ended children."""
        fields = self.device.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / 100


@contextmanager
def served(network: bool = False) -> Iterator[Served]:
    """Give a device with the guard running; with `network`, a broker and the courier too."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab()
        try:
            with lab.device() as device:
                device.sshd()
                whole = Served(device, Path(folder))
                if network:
                    whole.broker()
                whole.start()
                if network:
                    whole.deliver()
                yield whole
        finally:
            lab.close()


def memory(figures: Figures) -> None:
    """PSS of guard, courier and both, and idle CPU, a minute after the last thing happened."""
    figures.heading(f"Memory and CPU at rest ({REST} s after the last event)")
    with served(network=True) as whole:
        floor = whole.device.spawn([*PYTHON, "-c", "import time; time.sleep(600)"])
        guard, courier = whole.pid("agent.guard"), whole.pid("agent.courier")
        time.sleep(REST)
        bare = whole.pss(int(whole.device.must(["pgrep", "-f", "time.sleep.600"]).split()[0]))
        figures.line("bare Python, the floor", bare, "MB PSS")
        one, two = whole.pss(guard), whole.pss(courier)
        figures.line("guard", one, "MB PSS", 15, f"{one / bare:.1f} x bare Python")
        figures.line("courier", two, "MB PSS", None, f"{two / bare:.1f} x bare Python")
        figures.line("guard + courier", one + two, "MB PSS", 30)
        vaults = whole.device.run(["pgrep", "-f", "agent.system.worker"]).stdout.split()
        figures.line("sealing children still there", len(vaults), "", 0)
        before = whole.cpu(guard) + whole.cpu(courier)
        time.sleep(REST)
        figures.line(
            "guard + courier, idle", (whole.cpu(guard) + whole.cpu(courier) - before) / REST * 100, "% core", 0.1
        )
        floor.kill()


MEASURE = """
import os, sys, time
kind, count = sys.argv[1], int(sys.argv[2])
import json, socket
def ask(op):
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect("/run/privet/control.sock"); wire.sendall(json.dumps({"op": op}).encode() + b"\\n")
        return wire.makefile().readline()
def text(path):
    try:
        with open(path) as file: return file.read()
    except OSError: return ""
def sudo(n):
    path = "/etc/sudoers.d/90-mine"
    with open(path + ".new", "w") as file: file.write(f"pi ALL=(ALL) NOPASSWD: /bin/true-{n}\\n")
    os.chmod(path + ".new", 0o440); os.rename(path + ".new", path)
    return f"/bin/true-{n}", lambda: f"true-{n}" in text("/etc/sudoers.d/zz-privet-nopasswd")
def ssh(n):
    path = "/etc/ssh/sshd_config.d/000-privet-passwordauthentication.conf"
    with open(path, "w") as file: file.write("PasswordAuthentication yes\\n")
    return "", lambda: "no" in text(path)
change = {"sudo": sudo, "ssh": ssh}[kind]
rows = []
for n in range(count):
    ask("enforce")
    time.sleep(0.05)
    before = text("/run/motd.d/50-privet")
    begun = time.monotonic()
    sign, restored = change(n)
    warned = back = None
    while time.monotonic() - begun < 5 and (warned is None or back is None):
        if warned is None and text("/run/motd.d/50-privet") != before: warned = time.monotonic() - begun
        if back is None and restored(): back = time.monotonic() - begun
        if kind != "sudo" and n: warned = warned or back  # the same loosening again is counted, not told
        time.sleep(0.001)
    rows.append([back, warned])
print(json.dumps(rows))
"""


def reaction(figures: Figures) -> None:
    """Time from a foreign edit to restored and to warned."""
    figures.heading(
        f"From a foreign edit to restored and to warned ({EDITS} edits of sudo rules, 20 of the SSH server)"
    )
    with served() as whole:
        for kind, count, budget in (("sudo", EDITS, 0.1), ("ssh", 20, 2.0)):
            done = whole.device.run([*ENVIRONMENT, "/usr/bin/python3", "-c", MEASURE, kind, str(count)], seconds=900)
            rows = eval(done.stdout.decode().replace("null", "None"))
            for name, place in (("restored", 0), ("warned", 1))[: 1 if kind == "ssh" else 2]:
                seen = [row[place] for row in rows if row[place] is not None]
                if len(seen) < count:
                    figures.missed.append(f"{kind}: only {len(seen)} of {count} edits were {name}")
                if seen:
                    middle, high, highest = three(seen)
                    figures.line(f"{kind}: edit to {name}, p50 of {len(seen)}", middle * 1000, "ms")
                    figures.line(f"{kind}: edit to {name}, p95", high * 1000, "ms", 2000)
                    figures.line(f"{kind}: edit to {name}, p99", highest * 1000, "ms", budget * 1000)


def sweep(figures: Figures) -> None:
    """CPU of looking at every setting, the guard's and that of the programs it runs."""
    figures.heading("A full look at every setting")
    with served() as whole:
        pid = whole.pid("agent.guard")
        count = len([s for s in whole.statuses().values() if s != "absent"])
        whole.ask("enforce")
        before, begun = whole.cpu(pid), time.monotonic()
        rounds = 10
        for _ in range(rounds):
            whole.ask("enforce")
        used, wall = (whole.cpu(pid) - before) / rounds, (time.monotonic() - begun) / rounds
        figures.line(f"CPU, {len(whole.statuses())} settings, {count} of them here", used, "s", 1.5)
        figures.line("wall, asking included", wall, "s")
    lynis(figures)


def lynis(figures: Figures) -> None:
    """Run the peer on a device of the same kind: all its tests, once."""
    lab = Lab(tree.TRUTH)
    try:
        with lab.device() as device:
            device.sshd()
            device.write("/etc/lynis/custom.prf", "skip-upgrade-test=yes\n")
            timed = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=-3, check=False);"
            timed += "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
            argv = ["lynis", "audit", "system", "--quick", "--no-colors"]
            done = device.run(["/usr/bin/python3", "-c", timed, *argv], seconds=600)
            report = device.read("/var/log/lynis-report.dat")
            ran = next(line for line in report.splitlines() if line.startswith("tests_executed="))
            figures.line(f"Lynis, {len(ran.strip('|').split('|'))} tests: CPU", float(done.stdout.split()[-1]), "s")
    finally:
        lab.close()


CFENGINE = """
body common control {{ bundlesequence => {{ "main" }}; }}
bundle agent main
{{
files:
{promises}
}}
body perms m(mode) {{ mode => "$(mode)"; }}
"""


def status(figures: Figures) -> None:
    """`privet status` as a person runs it, beside a cfengine agent that has nothing to do, where that is installed."""
    figures.heading("privet status")
    with served() as whole:
        walls = []
        for _ in range(20):
            begun = time.monotonic()
            done = whole.device.run([*ENVIRONMENT, "/usr/bin/python3", "-m", "agent", "status"])
            walls.append(time.monotonic() - begun)
            if done.returncode not in (0, 3):
                raise RuntimeError(done.stderr.decode())
        enter = []
        for _ in range(20):
            begun = time.monotonic()
            whole.device.run(["true"])
            enter.append(time.monotonic() - begun)
        middle, high, _ = three([wall - three(enter)[0] for wall in walls])
        figures.line("wall, p50 of 20 (entering the device taken off)", middle * 1000, "ms", 150)
        figures.line("wall, p95", high * 1000, "ms")
    cfengine(figures, middle)


def cfengine(figures: Figures, ours: float) -> None:
    """Run the peer, where it is installed."""
    agent = shutil.which("cf-agent")
    if agent is None:
        print("  cf-agent is not installed: the comparison was not run (Debian package cfengine3)")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"file{n}" for n in range(40)]
        for file in files:
            file.touch(0o600)
        promises = "\n".join(f'  "{file}" perms => m("0600");' for file in files)
        policy = Path(folder) / "promises.cf"
        policy.write_text(CFENGINE.format(promises=promises))
        policy.chmod(0o600)
        walls, before = [], children()
        for _ in range(10):
            begun = time.monotonic()
            subprocess.run([agent, "-K", "-f", str(policy)], check=True, capture_output=True)
            walls.append(time.monotonic() - begun)
        peer = three(walls)[0]
        figures.line(
            "cf-agent, no-op on 40 files, p50 of 10", peer * 1000, "ms", None, f"status is {ours / peer:.2f} x that"
        )
        figures.line("cf-agent CPU", (children() - before) / 10 * 1000, "ms")
