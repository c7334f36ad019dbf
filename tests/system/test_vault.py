"""The vault: the same answers in process and in a child, and a child that leaves nothing behind."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.core import cose
from agent.core.errors import BadPolicy, Failed, Tampered
from agent.core.secret import Secret
from agent.system.vault import BATCH, FRAME, DirectVault, Vault, WorkerVault, batches, named

ROOT = Path(__file__).resolve().parents[2]
CANARY = b"canary-of-thirty-two-bytes-12345"
STREAM = cose.Stream(fleet="meadow", device="d1", purpose="comfort", boot=7, epoch=2)
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = SIGNER.public_key().public_bytes_raw()

ORPHAN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from agent.core.secret import Secret
from agent.system.vault import WorkerVault
vault = WorkerVault(Secret(bytes(32)))
vault.seal(b"", b"")
print(vault._child.pid, flush=True)
time.sleep(60)
"""

RESIDENT = """
import sys
sys.path.insert(0, sys.argv[1])
import agent.system.queue, agent.system.store, agent.system.keys
from agent.core.secret import Secret
from agent.system.vault import WorkerVault
vault = WorkerVault(Secret(bytes(32)))
assert vault.open(vault.seal(b"plain", b""), b"") == b"plain"
vault.close()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"cryptography", "cbor2", "paho", "pydantic"}))
"""


@pytest.fixture(name="vault", params=[DirectVault, WorkerVault])
def _vault(request: pytest.FixtureRequest) -> Iterator[Vault]:
    """Each kind of vault in turn."""
    vault: Vault = request.param(Secret(CANARY))
    yield vault
    vault.close()


@pytest.fixture(name="worker")
def _worker() -> Iterator[WorkerVault]:
    """A vault in a child that is started already."""
    worker = WorkerVault(Secret(CANARY))
    worker.seal(b"", b"")
    yield worker
    worker.close()


def pid_of(worker: WorkerVault) -> int:
    """Return the child's process id."""
    assert worker._child is not None
    return worker._child.pid


def gone(pid: int, seconds: float) -> bool:
    """Wait for a process that may be a stranger's child to end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_state_comes_back_and_is_bound(vault):
    """What is sealed opens in its place and is Tampered elsewhere, through a process boundary too."""
    sealed = vault.seal(b"plain", b"place")
    assert vault.open(sealed, b"place") == b"plain"
    with pytest.raises(Tampered, match="changed, moved"):
        vault.open(sealed, b"other")
    assert DirectVault(Secret(CANARY)).open(sealed, b"place") == b"plain"


def test_policies_are_verified(vault):
    """A good policy gives its payload, a bad one the same error and sentence from either vault."""
    signed = cose.sign1(b"payload", cose.key_id(PUBLIC), SIGNER.sign)
    assert vault.verify_policy(signed, [PUBLIC]) == b"payload"
    with pytest.raises(BadPolicy, match="does not trust"):
        vault.verify_policy(signed, [])


def test_epochs_and_records(vault):
    """An epoch made by either vault seals records that are the same from both."""
    epoch = vault.new_epoch(STREAM, [])
    assert cbor2.loads(epoch.body) == ["key", 2, {}] and len(epoch.key.reveal()) == 32
    records = [(number, b"x" * number) for number in range(1, 50)]
    sealed = vault.seal_records(epoch.key, STREAM, records)
    assert sealed == DirectVault(Secret(bytes(32))).seal_records(epoch.key, STREAM, records)
    with pytest.raises(BadPolicy, match="'home'"):
        vault.new_epoch(STREAM, [("home", b"short")])
    with pytest.raises(Failed, match="same number"):
        vault.seal_records(epoch.key, STREAM, [(1, b""), (1, b"")])
    with pytest.raises(Failed, match="same number"):
        vault.seal_records(epoch.key, STREAM, [(1, b""), (2, b"x" * BATCH), (1, b"")])


def test_a_known_ack_key_stays(vault):
    """A recipient whose ack key is handed over keeps it, another gets a fresh one, through a process boundary too."""
    halves = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    public = b"".join(half.public_key().public_bytes_raw() for half in halves)
    both = [("home", public), ("maker", public)]
    first = vault.new_epoch(STREAM, both)
    second = vault.new_epoch(STREAM, both, {"home": first.acks["home"]})
    assert second.acks["home"] == first.acks["home"] and second.acks["maker"] != first.acks["maker"]
    assert second.key != first.key


def test_identities(vault):
    """A key and a request arrive, the key wrapped."""
    made = vault.new_identity("r7k2")
    assert made.key.reveal().startswith(b"-----BEGIN PRIVATE KEY") and b"REQUEST" in made.request


def test_much_is_split_into_frames(worker):
    """More plaintext than fits in one frame goes in several round trips and comes back in order."""
    records = [(number, bytes([number]) * 500_000) for number in range(1, 20)]
    assert len(batches(records)) == 5 and batches([]) == []
    sealed = worker.seal_records(Secret(bytes(32)), STREAM, records)
    assert [cose.split_encrypt0(body, 600_000).nonce for body in sealed] == [cose.nonce(7, n) for n, _ in records]
    assert max(sum(len(plain) for _, plain in some) for some in batches(records)) <= BATCH < FRAME


def test_the_state_key_is_nowhere_to_be_seen(worker):
    """Neither arguments nor environment of the child hold the key, and its memory never goes to a core file."""
    place = Path(f"/proc/{pid_of(worker)}")
    for name in ("cmdline", "environ"):
        seen = (place / name).read_bytes()
        assert CANARY not in seen and CANARY.hex().encode() not in seen
    assert (place / "environ").read_bytes() == b"LC_ALL=C.UTF-8\0"
    core = next(line for line in (place / "limits").read_text().splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    assert "canary" not in repr(vars(worker))


def test_the_child_inherits_its_socket_alone(worker):
    """Of the parent's open files the child has the socket and nothing else."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid_of(worker)}/fd").iterdir()]
    assert sorted(link.partition(":")[0] for link in links) == ["/dev/null"] * 3 + ["socket"]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_replaced(worker, sign):
    """After the child was killed between requests the next one is answered, by another child."""
    sealed = worker.seal(b"plain", b"")
    before = pid_of(worker)
    os.kill(before, sign)
    assert worker.open(sealed, b"") == b"plain"
    assert worker.started == 2 and pid_of(worker) != before


def test_a_child_that_dies_during_a_request_is_replaced(worker):
    """A request that the child had taken but not answered when it was killed is asked again."""
    before = pid_of(worker)
    os.kill(before, signal.SIGSTOP)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -9 {before}"])
    assert worker.open(worker.seal(b"plain", b""), b"") == b"plain"
    assert killer.wait() == 0 and worker.started == 2


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(1)", "import os; os.abort()", "import time; time.sleep(60)", "print(1); import none_such"],
)
def test_a_child_that_never_answers_is_an_error(program):
    """Two failures in a row are one sentence, soon, and no process is left."""
    worker = WorkerVault(Secret(CANARY), patience=0.5, program=program)
    begun = time.monotonic()
    with pytest.raises(Failed, match="twice in a row; "):
        worker.seal(b"", b"")
    assert worker.started == 2 and time.monotonic() - begun < 10
    assert worker._child is None and not worker.collect()


def test_an_idle_child_ends_by_itself():
    """After its idle time the child is gone, its exit is collected, and the next request starts another."""
    worker = WorkerVault(Secret(CANARY), idle=1)
    sealed = worker.seal(b"plain", b"")
    child = pid_of(worker)
    assert worker.collect() and gone(child, 10)
    assert not worker.collect() and not Path(f"/proc/{child}").exists()
    assert worker.open(sealed, b"") == b"plain" and worker.started == 2
    worker.close()


@pytest.mark.parametrize("stopped", [False, True])
def test_the_child_dies_with_its_parent(stopped):
    """The parent killed, the child is gone at once; even one that is stopped and could not see its socket close."""
    argv = [sys.executable, "-I", "-c", ORPHAN, str(ROOT)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert select.select([parent.stdout], [], [], 20)[0]
        child = int(parent.stdout.readline())
        if stopped:
            os.kill(child, signal.SIGSTOP)
        assert not gone(child, 0.05)
        parent.kill()
    assert gone(child, 5)


def test_the_guards_half_loads_no_cipher():
    """Importing and using everything the guard needs of sealing and storage loads neither cryptography nor cbor2."""
    argv = [sys.executable, "-I", "-c", RESIDENT, str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_errors_come_back_as_themselves_or_failed():
    """A name that is no error of ours is Failed, whatever the other side says."""
    assert named("Tampered") is Tampered and named("os") is Failed and named("Exception") is Failed
