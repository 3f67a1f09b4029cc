"""C12 of the cluster: a node whose clock is off the engine's never takes messages in, says why, and does once the clock is right."""
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cluster
from harness import Broker, Mqtt, wait_until

TIME = re.compile(rb"\*2\r\n\$10\r\n(\d{10})\r\n\$\d\r\n\d{1,6}\r\n")


class Clock(cluster.Line):
    """The line of a node to the engine, whose clock seems to be that of this machine plus `ahead` seconds."""
    ahead = 0

    async def carry(self, reader, writer, way):
        await super().carry(Reader(self, reader), writer, way)


class Reader:
    """What comes through the line, with another time in what the engine replies to TIME; nobody else sends such an array."""

    def __init__(self, clock, reader):
        self.clock = clock
        self.reader = reader

    async def read(self, size):
        return TIME.sub(self.other, await self.reader.read(size))

    def other(self, reply):
        whole, seconds = reply.group(0), reply.group(1)
        return whole.replace(seconds, b"%010d" % (int(seconds) + self.clock.ahead), 1)


@pytest.mark.parametrize("ahead", [10, -10])
def test_a_node_whose_clock_is_off_never_leads(tmp_path, ahead):
    kept = []

    def keep(what):
        kept.append(what)
        return what
    try:
        broker = keep(Broker(tmp_path, config=cluster.BROKER))
        redis = keep(cluster.Redis(tmp_path / "redis"))
        redis.ask("SET", "{test}:epoch", "tested")
        clock = keep(Clock(redis.port))
        clock.ahead = ahead
        off = keep(cluster.Node(tmp_path, "off", broker.port, clock.port, ready=False))
        log = lambda: off.text()
        wait_until(lambda: "ms off the engine's: it can't take messages in" in log(), 15, "what is wrong with the clock")
        assert not off.leads()
        good = keep(cluster.Node(tmp_path, "good", broker.port, redis.port, ready=False))
        assert cluster.leader([off, good]) is good
        device = keep_client(kept, broker.port)
        device.publish("plant/1/t", "1")
        off.wait_ready()  # it serves clients
        wait_until(lambda: off.get("/channels/plant/1/t").status_code == 200, what="a message at the node whose clock is off")
        # With the other one dead nobody leads, until the clock is right.
        term, lines = off.metric("sluice_engine_term"), log().count("off the engine's")
        good.end()
        wait_until(lambda: log().count("off the engine's") > lines, 15, "its refusal to take over")
        assert not off.leads() and off.metric("sluice_engine_term") == term
        clock.ahead = 0
        assert cluster.leader([off]) is off
        device.publish("plant/1/t", "2")
        wait_until(lambda: off.get("/channels/plant/1/t").json()["data"] == 2, what="a message that it took in")
    finally:
        for what in reversed(kept):
            what.end()


def keep_client(kept, port):
    client = Mqtt(port)
    client.end = client.close
    kept.append(client)
    return client
