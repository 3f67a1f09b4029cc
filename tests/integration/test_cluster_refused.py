"""An engine that is there and refuses: clients are served from memory and told, the log says why, the broker keeps what devices send.

Each refusal is the server's own, not ours: a full memory, a replica, a disk that fails, rights, passwords, a script that never ends.
"""
import shutil
import subprocess
import sys

import pytest

import cluster
from harness import ROOT, Broker, Mqtt, free_port, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

QUIET = 100  # commands in a second: a node tries again, and not without a rest


def full(redis):
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    return lambda: redis.ask("CONFIG", "SET", "maxmemory", "0")


def replica(redis):
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    return lambda: redis.ask("REPLICAOF", "NO", "ONE")


def broken_disk(redis):
    shutil.rmtree(redis.directory)  # where it saves
    redis.ask("CONFIG", "SET", "save", "3600 1")
    redis.ask("BGSAVE")
    wait_until(lambda: "rdb_last_bgsave_status:err" in redis.ask("INFO", "persistence"), what="a save that fails")
    return lambda: redis.ask("CONFIG", "SET", "save", "")


def rights(redis):
    redis.ask("ACL", "SETUSER", "default", "-evalsha", "-set")
    return lambda: redis.ask("ACL", "SETUSER", "default", "+evalsha", "+set")


def password(redis):
    redis.ask("CONFIG", "SET", "requirepass", "secret")
    redis.ask("-a", "secret", "CLIENT", "KILL", "TYPE", "normal")
    return lambda: redis.ask("-a", "secret", "CONFIG", "SET", "requirepass", "")


def endless(redis):
    redis.ask("CONFIG", "SET", "busy-reply-threshold", "50")
    caller = subprocess.Popen(["redis-cli", "-p", str(redis.port), "EVAL", "while true do end", "0"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_until(lambda: redis.ask("PING").startswith("BUSY"), what="the script to be in the way")

    def lift():
        redis.ask("SCRIPT", "KILL")
        caller.wait(10)
    return lift


KINDS = {"OOM": full, "MISCONF": broken_disk, "NOPERM": rights, "READONLY": replica, "NOAUTH": password, "BUSY": endless}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("refused"), nodes=2) as world:
        yield world


@pytest.fixture(scope="module")
def device(world):
    client = Mqtt(world.plain)
    yield client
    client.close()


def value(node):
    return node.get("/channels/plant/1/t").json().get("data")


def told(node):
    answer = node.get("/poll?channel=plant/1/t&cursor=last")
    return answer.headers.get("Sluice-Upstream") == "down" and answer.json().get("upstream", {}).get("cause") == "engine"


def commands(redis):
    return int(redis.ask("INFO", "stats").split("total_commands_processed:")[1].split()[0])


@pytest.mark.parametrize("kinds", [["OOM", "MISCONF", "NOPERM"], ["READONLY"], ["NOAUTH"], ["BUSY"]], ids="+".join)
def test_an_engine_that_refuses(world, device, kinds):
    """For one reason, or for one after the other."""
    first = kinds[0]
    device.publish("plant/1/t", f'"before {first}"')
    for node in world.nodes:
        wait_until(lambda: value(node) == f"before {first}", what="the value before")
    lines = {node: len(node.text()) for node in world.nodes}
    logs = lambda: [node.text()[lines[node]:] for node in world.nodes]
    lift = KINDS[first](world.redis)
    try:
        device.publish("plant/1/t", f'"after {first}"')  # the broker acknowledges it: it keeps it
        for node in world.nodes:
            wait_until(lambda: told(node), what="what clients are told")
            ready = node.get("/readyz")
            assert ready.status_code == 503 and "engine" in ready.json()["message"]
            assert value(node) == f"before {first}"
        for kind in kinds[1:]:
            lift_next = KINDS[kind](world.redis)
            lift()
            lift = lift_next
            wait_until(lambda: any(f": {kind}" in log for log in logs()), what=f"{kind} in a log")
        # A node that connects again takes the one that led for the leader, until its lease is over.
        wait_until(lambda: all(told(node) for node in world.nodes) and any(f": {first}" in log for log in logs()), what=f"{first} in a log")
        if first == "OOM":
            begun, before = cases.time.monotonic(), commands(world.redis)
            wait_until(lambda: cases.time.monotonic() > begun + 0.5, what="a time to count in")
            assert commands(world.redis) - before < QUIET * (cases.time.monotonic() - begun)
    finally:
        lift()
    for node in world.nodes:
        node.wait_ready()
        wait_until(lambda: value(node) == f"after {first}", what="what the broker kept")
        values = [message["data"] for message in node.get("/channels/plant/1/t/history").json()["messages"]]
        assert values[-2:] == [f"before {first}", f"after {first}"]
        assert node.metric("sluice_engine_lost_total") == 0
    for log in logs():
        assert log.count("no gateway can take messages in") <= 2 * len(kinds), "said once, not with every try"


def test_the_name_moves_to_another_server(tmp_path):
    """After a failover the address leads to the new master, and the old one, to which there are connections, is a replica."""
    with cases.World(tmp_path, nodes=1, cut=True) as world:
        node, old = world.nodes[0], world.redis
        device = Mqtt(world.plain)
        try:
            device.publish("plant/1/t", '"before"')
            wait_until(lambda: value(node) == "before", what="the value before")
            new = world.keep(cluster.Redis(tmp_path / "new"))
            old.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
            new.ask("REPLICAOF", "127.0.0.1", str(old.port))
            wait_until(lambda: "master_link_status:up" in new.ask("INFO", "replication"), what="the replica")
            new.ask("REPLICAOF", "NO", "ONE")
            world.lines[node.node][0].target = new.port
            old.ask("REPLICAOF", "127.0.0.1", str(new.port))
            device.publish("plant/1/t", '"after"')
            wait_until(lambda: value(node) == "after", what="the value after")
            node.wait_ready()
            assert "READONLY" in node.text() and node.metric("sluice_engine_lost_total") == 0
        finally:
            device.close()


class Starting(cluster.Node):
    """A gateway that does not get as far as to listen."""

    def find_port(self):
        return "1" if "waiting for" in self.text() else super().find_port()


def test_a_part_of_a_cluster_of_servers(tmp_path):
    """A server in cluster mode that has no slots: a gateway that starts says what it replied."""
    kept = [Broker(tmp_path, config=cluster.BROKER)]
    try:
        kept.append(cluster.Redis(tmp_path / "redis", options=["--cluster-enabled", "yes", "--cluster-port", str(free_port())]))
        kept.append(Starting(tmp_path, "alone", kept[0].port, kept[1].port, ready=False))
        assert "CLUSTERDOWN Hash slot not served" in kept[2].text()
    finally:
        for process in reversed(kept):
            process.end()
