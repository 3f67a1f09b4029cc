"""What happens to the log while a gateway still reads the histories at its start: everything is there, or a gap is told."""
import concurrent.futures
import contextlib
import sys

import cluster
import pytest
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402


class Stopper(cluster.Line):
    """A line on which nothing comes back any more from the moment that this word goes out."""

    def __init__(self, target, word):
        self.word, self.seen = word, False
        super().__init__(target)

    async def carry(self, reader, writer, way):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if way is self.out and self.word in data and not self.seen:
                    self.seen = True
                    self.back.clear()
                await way.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("loading"), nodes=1) as world:
        yield world


@pytest.mark.parametrize("word", [b"ZRANGE", b"XRANGE", b"HGETALL", b"HMGET"])
@pytest.mark.parametrize("trimmed", [False, True], ids=["kept", "trimmed"])
def test_messages_while_it_loads(world, word, trimmed):
    """Between any two of its questions; the log may have been cut behind what it has read meanwhile."""
    first, name = world.nodes[0], f"{word.decode().lower()}{trimmed:d}"
    channel, device = f"plant/{name}/t", Mqtt(world.plain)
    line = world.keep(Stopper(world.redis.port, word))

    def publish(values):
        for value in values:
            device.publish(channel, str(value))
        wait_until(lambda: first.get(f"/channels/{channel}").json().get("data") == values[-1], what=f"message {values[-1]}")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        publish([1, 2, 3])
        cursor = first.get(f"/channels/{channel}/history").json()["messages"][0]["cursor"]
        starting = pool.submit(cluster.Node, world.directory, name, world.broker.port, line.port)
        wait_until(lambda: line.seen, what=f"its {word}")
        publish([4, 5, 6])
        if trimmed:
            assert int(world.redis.ask("XTRIM", "{test}:log", "MAXLEN", "1")) > 3
        line.loop.call_soon_threadsafe(line.back.set)
        node = world.keep(starting.result(30))
    publish([7])
    device.close()
    wait_until(lambda: node.get(f"/channels/{channel}").json().get("data") == 7, what="the message behind them")
    answer = node.get(f"/poll?channel={channel}&cursor={cursor}").json()
    got = [message["data"] for message in answer["messages"]]
    assert got == [2, 3, 4, 5, 6, 7][6 - len(got):] or answer["gaps"], answer
    assert bool(answer["gaps"]) == (len(got) < 6), answer
    assert node.metric("sluice_engine_lost_total") == trimmed
    assert node.get(f"/channels/{channel}").json()["cursor"] == first.get(f"/channels/{channel}").json()["cursor"]
    node.stop()
