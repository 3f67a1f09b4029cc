"""A server without enough memory throws whole keys away, if its policy says so. Gateways that run have everything in their own memory; one
that starts later has not, and must tell a gap for what it can't know: also where the next entry has made the missing key anew."""
import itertools
import sys

import cluster
import pytest
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

count = itertools.count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("evicted"), nodes=2) as world:
        yield world


@pytest.fixture(scope="module")
def device(world):
    client = Mqtt(world.plain)
    yield client
    client.close()


def late(world):
    return world.keep(cluster.Node(world.directory, f"late{next(count)}", world.broker.port, world.redis.port))


def publish(device, nodes, channel, values):
    for value in values:
        device.publish(channel, str(value))
    for node in nodes:
        wait_until(lambda: node.get(f"/channels/{channel}").json().get("data") == values[-1], what=f"{values[-1]} on {channel}")


def after(node, channel, cursor, wanted):
    """What a client gets that comes back with this cursor: values, and whether a gap is told."""
    got, gap = [], False

    def poll():
        nonlocal cursor, gap
        answer = node.get(f"/poll?channel={channel}&wait=1&cursor={cursor}")
        assert answer.status_code in (200, 204), answer.text
        if answer.status_code == 200:
            cursor, gap = answer.json()["cursor"], gap or bool(answer.json()["gaps"])
            got.extend(message["data"] for message in answer.json()["messages"])
        return gap or got[-1:] == wanted[-1:]
    wait_until(poll, what=f"{channel} at {node.node}")
    return got, gap


def whole_or_told(node, channel, cursor, wanted):
    got, gap = after(node, channel, cursor, wanted)
    assert got == wanted or (gap and got == wanted[len(wanted) - len(got):]), (node.node, channel, got, gap)
    return gap


@pytest.mark.parametrize("key", ["channels", "meta", "h:plant/%s/t", "epoch", "log"])
def test_a_key_is_gone(world, device, key):
    """At once, after the next message, and after the leader has seen it."""
    channel = f"plant/{key.split(':')[0]}/t"
    key = key.replace("%s", "h")
    publish(device, world.nodes, channel, [1, 2, 3])
    cursor = world.nodes[0].get(f"/channels/{channel}/history").json()["messages"][0]["cursor"]
    term = world.nodes[0].metric("sluice_engine_term")
    assert world.redis.ask("DEL", "{test}:" + key) == "1"
    if key == "channels":
        publish(device, world.nodes, "plant/other/t", [next(count)])
    first = late(world)
    assert whole_or_told(first, channel, cursor, [2, 3]) == (key not in ("meta", "epoch", "log"))
    if not key.startswith("h:"):
        wait_until(lambda: world.nodes[0].metric("sluice_engine_term") > term, what="the leader to begin anew")
        for node in world.nodes:
            node.wait_ready()
    publish(device, [*world.nodes, first], channel, [4, 5])
    second = late(world)
    for node in world.nodes:
        assert after(node, channel, cursor, [5]) == ([2, 3, 4, 5], False)
    whole_or_told(first, channel, cursor, [2, 3, 4, 5])
    assert whole_or_told(second, channel, cursor, [2, 3, 4, 5]) == key.startswith("h:") # the others are made of the histories again
    assert len({node.get(f"/channels/{channel}").json()["cursor"] for node in [*world.nodes, first, second]}) == 1
    for node in (first, second):
        node.stop()


def throws_away(redis, channels):
    """Takes some more memory from it. True: histories of these channels are gone by now."""
    used = int(redis.ask("INFO", "memory").split("used_memory:")[1].split()[0])
    redis.ask("CONFIG", "SET", "maxmemory", str(used - 5000))
    return int(redis.ask("EXISTS", *(f"{{test}}:h:{channel}" for channel in channels))) < len(channels) - 2


def test_what_a_policy_throws_away(world, device):
    """Any key, by the server itself: whatever a new gateway has, nothing is missing without a gap."""
    channels = [f"plant/{i}/t" for i in range(40)]
    for i, channel in enumerate(channels):
        for value in range(5):
            device.publish(channel, str(value))
    publish(device, world.nodes, "plant/end/t", [1])
    cursors = {channel: world.nodes[0].get(f"/channels/{channel}/history").json()["messages"][0]["cursor"] for channel in channels}
    world.redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    wait_until(lambda: throws_away(world.redis, channels), what="histories to be thrown away")
    world.redis.ask("CONFIG", "SET", "maxmemory", "0")
    new = late(world)
    told = [whole_or_told(new, channel, cursors[channel], [1, 2, 3, 4]) for channel in channels]
    # Where the log was among them, the histories came back with it.
    assert any(told) or any("added again from memory" in node.text() for node in world.nodes)
    for node in world.nodes:
        node.wait_ready()
        for channel in channels:
            assert after(node, channel, cursors[channel], [4]) == ([1, 2, 3, 4], False)
    assert "throws keys away when its memory is full" not in world.nodes[0].text()
    new.stop()
