"""Gateways that were given the same name, or the client_id of another cluster: the log says so, and what to do."""
import sys

import cluster
import pytest
from harness import ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402


@pytest.mark.parametrize("other, advice", [
    ("node", "another client with the id 'cluster-a'? Give each gateway its own node, in the table of the engine;"),
    ("prefix", "another client with the id 'cluster'? The gateways of this cluster share it, and nobody else may have it: give each cluster its own broker.client_id;"),
])
def test_two_with_one_name(tmp_path, other, advice):
    with cases.World(tmp_path, nodes=1) as world:
        (tmp_path / "elsewhere").mkdir()
        if other == "prefix":
            world.redis.ask("SET", "{other}:epoch", "tested")
        text, cluster.CONFIG = cluster.CONFIG, cluster.CONFIG.replace("prefix: test", "prefix: other") if other == "prefix" else cluster.CONFIG
        try:
            name = "a" if other == "node" else "b"
            twin = world.keep(cluster.Node(tmp_path / "elsewhere", name, world.broker.port, world.redis.port, ready=False))
        finally:
            cluster.CONFIG = text
        nodes = [world.nodes[0], twin]
        wait_until(lambda: any(advice in node.text() for node in nodes), 20, "the advice")
        if other == "node": # they take messages in all the same, and only one of them
            wait_until(lambda: sorted(node.leads() for node in nodes) == [False, True], what="one leader")
