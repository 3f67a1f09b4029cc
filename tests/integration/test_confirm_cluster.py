"""Confirmed commands where gateways share a sequence: the state comes by the log, whichever of them takes messages in."""
import sys

import cluster
import requests

from harness import ROOT, wait_until
from lamps import Devices

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: /state, within: 5s } }
"""


def command(node, name, value):
    return requests.post(f"{node.http}/channels/lamps/{name}?confirm=true", data=f'{{"state":"{value}"}}', timeout=20).json()


def test_every_node_confirms(tmp_path):
    with cases.World(tmp_path, nodes=2, routes=ROUTES) as world:
        devices = Devices(world.broker.port)
        try:
            leader = cluster.leader(world.nodes)
            for turn in range(10):
                for node in world.nodes:
                    value = "ON" if node is leader else "OFF"
                    answer = command(node, "shared", value)
                    assert answer["status"] == "confirmed", answer
                    other = world.nodes[node is world.nodes[0]]
                    wait_until(lambda: other.get("/channels/lamps/shared").json().get("cursor") == answer["cursor"])
                    assert other.get("/channels/lamps/shared").json()["data"]["state"] == value
            follower = next(node for node in world.nodes if node is not leader)
            answer = command(follower, "never", "ON")
            assert answer == {"status": "timeout"}
            leader.signal(9)  # the one that takes messages in dies between
            leader.wait()
            cluster.leader([follower])
            assert command(follower, "shared", "ON")["status"] == "confirmed"
        finally:
            devices.close()
