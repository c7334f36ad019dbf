"""`privet-fleet broker cluster`: a folder for each node, with all it needs and nothing of another's."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning.cli.main import cli
from provisioning.fleet.identity import Fleet

HOSTS = ("a.example", "b.example", "c.example")
NODES = [word for host in HOSTS for word in ("--node", host)]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Give a fleet."""
    return Fleet.create(tmp_path / "fleet", "garden")


def told(fleet: Fleet, *words: str) -> tuple[int, str]:
    """Run the command."""
    done = CliRunner().invoke(cli, ["broker", "cluster", *words, "--fleet", str(fleet.safe.directory), "--json"])
    return done.exit_code, done.output


@pytest.mark.parametrize("engine", ["nats", "rabbitmq", "emqx"])
def test_each_node_has_its_own(fleet: Fleet, tmp_path: Path, engine: str):
    """Its own keys, closed to others; certificates in its own name, of an authority that makes no clients."""
    (tmp_path / "names").write_text("anna\n")
    out = tmp_path / "out"
    code, said = told(fleet, engine, *NODES, "--out", str(out), "--devices", str(tmp_path / "names"))
    assert (code, json.loads(said)["tried"]) == (0, engine != "emqx"), said
    assert {path.name for path in out.iterdir()} == set(HOSTS)
    for host in HOSTS:
        folder = out / host
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        made = x509.load_pem_x509_certificate((folder / "node.pem").read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [host]
        uses = set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        assert uses == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        made.verify_directly_issued_by(x509.load_pem_x509_certificate((folder / "nodes.pem").read_bytes()))
        assert (folder / "nodes.pem").read_bytes() not in (folder / "clients.pem").read_bytes()
        assert not list(folder.glob("cluster-ca*"))
    assert len({(out / host / "node.key").read_bytes() for host in HOSTS}) == 3
    assert len({(out / host / "nodes.pem").read_bytes() for host in HOSTS}) == 1
    if engine == "rabbitmq":
        assert len({(out / host / ".erlang.cookie").read_bytes() for host in HOSTS}) == 1
        conf = (out / "b.example/rabbitmq.conf").read_text()
        assert "mqtt.durable_queue_type = quorum" in conf
        assert "cluster_formation.classic_config.nodes.3 = privet-3@c.example" in conf
        assert 'NODENAME="privet-2@b.example"' in (out / "b.example/rabbitmq-env.conf").read_text()
    if engine == "nats":
        conf = json.loads((out / "b.example/nats.conf").read_text())
        assert conf["cluster"]["routes"] == ["nats://a.example:6222", "nats://c.example:6222"]
        assert conf["cluster"]["tls"]["verify"] is True
        assert conf["mqtt"]["stream_replicas"] == 3
    assert told(fleet, engine, *NODES, "--out", str(out))[0] == 65  # another run writes over nothing


def test_what_outlives_no_node_is_no_cluster(fleet: Fleet, tmp_path: Path):
    """Two nodes, four, or one twice: refused with a sentence, and nothing is written."""
    for nodes in (NODES[:4], [*NODES, "--node", "d.example"], [*NODES[:4], "--node", "a.example"]):
        code, said = told(fleet, "nats", *nodes, "--out", str(tmp_path / "out"))
        assert (code, "three, five or seven" in said) == (65, True)
    assert not (tmp_path / "out").exists()
