"""C6 of the cluster: the leader dies when the engine has a message and the broker no acknowledgement for it.

The crash points are exact: a line is held in one direction, so that either the engine's reply or the PUBACK does not get through,
until the engine has everything; then comes kill -9.
"""
import json
import sys

import pytest

import cluster
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

ROUTES = """
  - { topic: "plant/{id}/{kind}", codec: json, qos: 1, history: { count: 1000 } }
  - { topic: "many/{id}", channel: "many/{id}/{member}", qos: 1, transform: split, history: { count: 1000 } }
"""
HELD = {"reply": (0, "back"), "puback": (1, "out")}  # which of the leader's lines, and in which direction


def log(world):
    """What the log has: the channel of each message."""
    words = world.redis.ask("XRANGE", "{test}:log", "-", "+").split("\n")
    return [words[i + 1] for i, word in enumerate(words) if word == "c"]


def length(world):
    return int(world.redis.ask("XLEN", "{test}:log"))


def values(node, channel):
    answer = node.get(f"/channels/{channel}/history")
    return [message["data"] for message in answer.json()["messages"]] if answer.status_code == 200 else []


def crash(world, device, held, packets):
    """Publishes the packets, topic and payload and how many messages it makes; kills the leader as `held` says. Returns the next leader."""
    first = world.leader()
    which, way = HELD[held]
    world.lines[first.node][which].hold(way)
    count = length(world)
    for topic, payload, messages in packets:
        device.publish(topic, payload)
        count += messages
        if held == "puback":  # without a reply only one small batch is on its way: the others go together
            wait_until(lambda: length(world) == count, 10, lambda: f"{count} entries in the log: {length(world)}")
    wait_until(lambda: length(world) == count, 10, lambda: f"{count} entries in the log: {length(world)}")
    first.end()
    # As if it had gone in order: how long a lease is left to run is of no interest here.
    term, number = world.redis.ask("XREVRANGE", "{test}:log", "+", "-", "COUNT", "1").split("\n")[0].split("-")
    world.redis.ask("DEL", "{test}:lease")
    world.redis.ask("XADD", "{test}:log", f"{term}-{int(number) + 1}", "k", "resign", "s", "0")
    other = wait_until(lambda: next((node for node in world.nodes if node is not first and node.leads()), None), 10, "another leader")
    world.lines[first.node][which].splice()
    first.again()
    return other


def batches(n, sizes):
    """A packet for each size: what a packet makes goes to the engine in one batch."""
    for size in sizes:
        if size == 1:
            yield f"plant/{n}/t", json.dumps(n), 1
        else:
            yield "many/x", json.dumps({f"m{size}-{i}": n for i in range(size)}), size


@pytest.mark.timeout(120)
def test_no_message_comes_twice(tmp_path):
    """Whatever the size of the batches on their way."""
    points = [("reply", [1, 2, 127]), ("puback", [128, 1, 129]), ("reply", [600]), ("puback", [1])]
    sizes = [together for _, together in points]
    with cases.World(tmp_path, nodes=2, cut=True, lease="10s", routes=ROUTES) as world:
        device = Mqtt(world.plain)
        try:
            for n, (held, together) in enumerate(points):
                node = crash(world, device, held, batches(n, together))
                device.publish(f"plant/{n}/end", b"1")
                wait_until(lambda: node.get(f"/channels/plant/{n}/end").status_code == 200, what="the message behind them")
                assert node.metric("sluice_engine_redelivered_total") >= len(together)
            for node in world.nodes:
                node.wait_ready()
                for n, together in enumerate(sizes):
                    for topic, payload, size in batches(n, together):
                        channels = [topic] if size == 1 else [f"{topic}/{name}" for name in json.loads(payload)][:3]
                        for channel in channels:
                            assert values(node, channel) == [n], (node.node, channel)
            names = log(world)
            assert len(names) == len(set(names)) == sum(map(sum, sizes)) + len(sizes)
        finally:
            device.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_payload_that_became_no_message(tmp_path, tls):
    """It leaves nothing in the log to be known by, and what is behind it is known all the same.
    Over TLS libmosquitto does not say which packets the broker sends again."""
    with cases.World(tmp_path, nodes=2, cut=True, tls=tls, lease="10s", routes=ROUTES) as world:
        device = Mqtt(world.plain)
        try:
            packets = [("plant/1/t", b"1", 1), ("plant/1/t", b"no JSON", 0), ("plant/1/t", b"2", 1), ("plant/1/t", b"{", 0),
                       ("plant/1/t", b"3", 1)]
            node = crash(world, device, "puback", packets)
            device.publish("plant/1/t", b"4")
            wait_until(lambda: values(node, "plant/1/t")[-1:] == [4], what="the message behind them")
            assert values(node, "plant/1/t") == [1, 2, 3, 4]
            # Once something new has come, the same again is new, too.
            for payload in (b"4", b"4"):
                device.publish("plant/1/t", payload)
            wait_until(lambda: values(node, "plant/1/t") == [1, 2, 3, 4, 4, 4], what="equal values")
        finally:
            device.close()
