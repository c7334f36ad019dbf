"""What is written for other engines: right in form, closed in content, and nothing breaks out of a name."""

import json
import re
from collections.abc import Callable

import pytest

from agent.core.errors import BadInput
from provisioning.broker import emqx, nats, rabbitmq
from provisioning.broker.child import Setup
from tests.courier.rig import FLEET

SETUP = Setup(fleet=FLEET, address="127.0.0.1", port=8883, collectors=("one",), durable=True)
WRITERS: dict[str, Callable[[Setup], str]] = {
    "nats": lambda setup: nats.configuration(setup, ("anna",)),
    "rabbitmq": lambda setup: rabbitmq.configuration(setup) + rabbitmq.definitions(setup, ("anna",)),
    "emqx": lambda setup: emqx.configuration(setup) + emqx.access(setup),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "wrong", [{"port": 0}, {"address": ""}, {"address": '1"\nx'}, {"fleet": "a/#"}, {"collectors": ("x.y",)}]
)
def test_odd_setups_are_refused(kind: str, wrong: dict[str, object]):
    """What would break out of a line is refused before it is written."""
    setup = Setup(**{name: getattr(SETUP, name) for name in Setup.__slots__} | wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        WRITERS[kind](setup)


@pytest.mark.parametrize("name", ["", "Anna", "a/b", "a.b", "+", "a b", ".*"])
def test_odd_devices_are_refused(name: str):
    """A name that would be a pattern is no name."""
    for write in (nats.configuration, rabbitmq.definitions):
        with pytest.raises(BadInput):
            write(SETUP, (name,))


def test_nats_knows_whom_it_was_told_of():
    """The names in the certificates, MQTT alone, own topics alone; nobody else is a user."""
    whole = json.loads(nats.configuration(SETUP, ("anna", "bert")))
    users = {user["user"]: user for user in whole["authorization"]["users"]}
    assert set(users) == {f"urn:privet:{FLEET}:{name}" for name in ("anna", "bert", "service.one", "service.steward")}
    assert all(user["allowed_connection_types"] == ["MQTT"] for user in users.values())
    said = users[f"urn:privet:{FLEET}:anna"]["permissions"]["publish"]["allow"]
    assert all(subject.startswith(f"privet.1.{FLEET}.anna.") for subject in said)
    assert whole["mqtt"]["tls"]["verify_and_map"] is True
    assert whole["listen"].startswith("127.0.0.1:")


def test_rabbitmq_holds_each_to_its_own():
    """The patterns of a device match its own topics and queue, and nobody else's."""
    whole = json.loads(rabbitmq.definitions(SETUP, ("anna", "anna2")))
    topics = {row["user"]: row for row in whole["topic_permissions"]}
    own = re.compile(topics["anna"]["write"])
    assert own.search(f"privet.1.{FLEET}.anna.up.comfort")
    for key in (
        f"privet.1.{FLEET}.anna2.up.comfort",
        f"privet.1.{FLEET}.anna.policy",
        f"x.privet.1.{FLEET}.anna.state",
    ):
        assert not own.search(key)
    queue = re.compile({row["user"]: row for row in whole["permissions"]}["anna"]["read"])
    assert queue.search("mqtt-subscription-annaqos1")
    assert not queue.search("mqtt-subscription-anna2qos1")
    assert "guest" not in [user["name"] for user in whole["users"]]


def test_emqx_is_marked_as_not_tried():
    """Whoever reads the file learns that nobody ran it."""
    assert emqx.TRIED is False
    assert "not tried" in emqx.configuration(SETUP).splitlines()[0]
    assert emqx.access(SETUP).endswith("{deny, all}.\n")
