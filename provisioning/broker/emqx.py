"""A configuration for EMQX 5, written from its manual and *not tried*: no package of it is at hand for our tests.

Run `privet-fleet audit-broker` on it before a device connects. What it should come to: TLS with client certificates and
nothing else, the certificate's common name as user and as client, and our topics.
"""

from provisioning.broker.child import STEWARD, Member, Setup, place_of
from provisioning.fleet.identity import SERVICE, checked

TRIED = False
MOST_PACKET = "336KB"
CIPHERS = "TLS_AES_256_GCM_SHA384,TLS_CHACHA20_POLY1305_SHA256,TLS_AES_128_GCM_SHA256,ECDHE-ECDSA-AES256-GCM-SHA384"


def configuration(setup: Setup) -> str:
    """Return emqx.conf."""
    address, port = place_of(setup)
    return f"""# Written by privet-fleet; not tried with EMQX itself: audit it before a device connects.
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false
listeners.ssl.default {{
  enable = true
  bind = "{address}:{port}"
  ssl_options {{
    cacertfile = "clients.pem"
    certfile = "broker.pem"
    keyfile = "broker.key"
    verify = verify_peer
    fail_if_no_peer_cert = true
    versions = ["tlsv1.3", "tlsv1.2"]
    ciphers = "{CIPHERS}"
    honor_cipher_order = true
    enable_crl_check = true
  }}
}}
mqtt {{
  peer_cert_as_username = cn
  peer_cert_as_clientid = cn
  max_packet_size = {MOST_PACKET}
  retain_available = false
  shared_subscription = true
  max_mqueue_len = 10000
}}
retainer.enable = false
sys_topics.sys_msg_interval = 0s
authorization {{
  no_match = deny
  deny_action = ignore
  cache.enable = true
  sources = [{{ type = file, enable = true, path = "acl.conf" }}]
}}
dashboard.listeners.http.bind = 0
"""


def clustered(member: Member) -> str:
    """Return what emqx.conf holds besides on a node of a cluster; not tried either.

    Erlang's own protocol between the nodes in TLS is `etc/ssl_dist.conf` there: the words of RabbitMQ's
    `inter_node_tls.config`, and `-proto_dist inet_tls` in `vm.args`.
    """
    seeds = ", ".join(f'"privet@{host}"' for host in member.nodes)
    tls = 'cacertfile = "nodes.pem", certfile = "node.pem", keyfile = "node.key"'
    return f"""node.name = "privet@{member.nodes[member.number - 1]}"
cluster {{
  name = privet
  discovery_strategy = static
  static.seeds = [{seeds}]
  proto_dist = inet_tls
}}
rpc {{
  protocol = ssl
  driver = ssl
  {tls}
}}
"""


def access(setup: Setup) -> str:
    """Return acl.conf."""
    top = f"privet/1/{checked(setup.fleet, 'fleet')}"
    own = f"{top}/${{username}}"
    lines = [
        f'{{allow, all, publish, ["{own}/up/+", "{own}/warning", "{own}/state"]}}.',
        f'{{allow, all, subscribe, ["{own}/ack", "{own}/policy"]}}.',
    ]
    for name in setup.collectors:
        who = f'{{user, "{SERVICE}{checked(name, "collector")}"}}'
        lines += [
            f'{{allow, {who}, subscribe, ["{top}/+/up/+", "{top}/+/warning", "{top}/+/state"]}}.',
            f'{{allow, {who}, publish, ["{top}/+/ack", "{top}/+/policy"]}}.',
        ]
    steward = f'{{user, "{SERVICE}{STEWARD}"}}'
    lines += [
        f'{{allow, {steward}, subscribe, ["{top}/+/state"]}}.',
        f'{{allow, {steward}, publish, ["{top}/+/policy"]}}.',
    ]
    return "\n".join([*lines, "{deny, all}."]) + "\n"
