"""States of channels where gateways share a sequence (decision 0022): one decides, all know, whoever takes over goes on."""
import sys

import cluster
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

ROUTES = """
  - { topic: "plant/{id}/{kind}", channel: "plant/{id}/{kind}", stale: 1s }
  - { topic: "z2m/{id}", channel: "dev/{id}", available: { topic: "z2m/{id}/availability" } }
"""


def states(node):
    return {channel["channel"]: (channel["state"], channel.get("since")) for channel in node.get("/channels").json()["channels"]}


def until(nodes, wanted):
    def there():
        return all({name: one for name, (one, _) in states(node).items()} == wanted for node in nodes)
    wait_until(there, 15, lambda: f"{wanted}: {[states(node) for node in nodes]}")


def test_states_on_every_node(tmp_path):
    with cases.World(tmp_path, nodes=2, routes=ROUTES) as world:
        device = Mqtt(world.broker.port)
        try:
            device.publish("z2m/a/availability", b"offline", retain=True)
            device.publish("z2m/a", b"1")
            device.publish("z2m/b/availability", b"online", retain=True)
            device.publish("z2m/b", b"1")
            device.publish("plant/1/t", b"1")
            known = {"plant/1/t": "stale", "dev/a": "offline", "dev/b": "live"}
            until(world.nodes, known)
            assert states(world.nodes[0]) == states(world.nodes[1])
            late = world.keep(cluster.Node(tmp_path, "late", world.broker.port, world.redis.port, routes=ROUTES))
            nodes = world.nodes + [late]
            until(nodes, known)
            device.publish("plant/1/t", b"2")
            leader = cluster.leader(nodes)
            leader.signal(9)
            leader.wait()
            nodes.remove(leader)
            cluster.leader(nodes)
            until(nodes, known) # it falls silent on the new one's watch, and nobody is forgotten
            device.publish("z2m/a/availability", b"online", retain=True)
            device.publish("z2m/b/availability", b"offline", retain=True)
            until(nodes, {"plant/1/t": "stale", "dev/a": "live", "dev/b": "offline"})
        finally:
            device.close()


def kept_states(world):
    """The channels whose states the engine has."""
    return set(world.redis.ask("HKEYS", "{test}:meta:states").split())


def test_the_engine_forgets_states_with_their_channels(tmp_path):
    with cases.World(tmp_path, nodes=1, routes=ROUTES) as world:
        device = Mqtt(world.broker.port)
        try:
            for name in ("plant/1/t", "plant/2/t"):
                device.publish(name, b"1", retain=True)
            wait_until(lambda: kept_states(world) == {"plant/1/t", "plant/2/t"}, 15, lambda: f"{kept_states(world)}")
            device.publish("plant/1/t", b"", retain=True)
            wait_until(lambda: kept_states(world) == {"plant/2/t"}, 15, lambda: f"{kept_states(world)}")
        finally:
            device.close()
