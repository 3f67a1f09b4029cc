"""Something else than the engine replies, late or in its own way: it is noticed, said, and got over; no reply ends a gateway."""
import asyncio
import contextlib
import sys
import time

import pytest

import cluster
from harness import ROOT, Broker, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))

# Each is what comes back for whatever is sent.
REPLIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "bytes": bytes(range(255, 0, -1)),
    "status": b"+OK\r\n",
    "number": b":1\r\n",
    "nothing": b"*-1\r\n",
    "empty": b"*0\r\n",
    "numbers": b"*2\r\n:1\r\n:2\r\n",
    "texts": b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
    "stream of a number": b"*1\r\n*2\r\n:1\r\n:2\r\n",
    "stream of numbers": b"*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n9-9\r\n*2\r\n:1\r\n:2\r\n",
    "entry without fields": b"*1\r\n*2\r\n$3\r\n9-9\r\n*0\r\n",
    "nested": b"*1\r\n" * 20 + b":1\r\n",
    "half": b"$10\r\nabc",
    "reset": None,
}
QUIET = 400  # replies in a second; without a rest there are tens of thousands


class Proxy(cluster.Line):
    """A line that replies for the engine while `reply` is set, each time after `delay` seconds."""
    reply, delay, replies = b"", 0, 0

    async def carry(self, reader, writer, way):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay and way is self.back:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(self, reader, writer):
        if self.reply == b"":
            return await super().accept(reader, writer)
        self.writers.add(writer)
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                self.replies += 1
                if self.reply is None:
                    writer.transport.abort()
                    return
                writer.write(self.reply)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("replies")
    with contextlib.ExitStack() as stack:
        def keep(process, end="end"):
            stack.callback(getattr(process, end))
            return process
        broker = keep(Broker(directory, config=cluster.BROKER))
        redis = keep(cluster.Redis(directory / "redis"))
        redis.ask("SET", "{test}:epoch", "tested")
        proxy = keep(Proxy(redis.port))
        node = keep(cluster.Node(directory, "one", broker.port, proxy.port))
        device = keep(Mqtt(broker.port), "close")
        yield proxy, node, device
        node.stop()  # and nothing was found by a sanitizer


def value(node):
    answer = node.get("/channels/plant/1/t")
    return answer.json()["data"] if answer.status_code == 200 else None


def test_wrong_replies(parts):
    """One after the other; then the engine is there again, and nothing is missing."""
    proxy, node, device = parts
    device.publish("plant/1/t", '"before"')
    wait_until(lambda: value(node) == "before", what="the value before")
    for i, (kind, reply) in enumerate(REPLIES.items()):
        proxy.reply = reply
        proxy.splice()  # connections end, and the next ones get such replies
        if i == 0:
            device.publish("plant/1/t", '"after"')
            wait_until(lambda: node.get("/readyz").status_code == 503, what="not ready")
        proxy.replies = 0
        wait_until(lambda: proxy.replies > 3, what=f"another try after {kind}")
        assert node.child.poll() is None, f"{kind}: {node.text()}"
        assert value(node) == "before", kind
    proxy.reply = b""
    proxy.splice()
    node.wait_ready()
    wait_until(lambda: value(node) == "after", what="what the broker kept")
    assert node.metric("sluice_engine_lost_total") == 0


def test_wrong_replies_cost_little(parts):
    """Replies that come at once where the engine would wait are not asked for without a rest."""
    proxy, node, _ = parts
    for kind in ("nothing", "status"):
        proxy.reply, proxy.replies = REPLIES[kind], 0
        proxy.splice()
        wait_until(lambda: proxy.replies, what="the first of them")
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 0.5, what="a time to count in")
        assert proxy.replies < QUIET * (time.monotonic() - begun), kind
    proxy.reply = b""
    proxy.splice()
    node.wait_ready()


@pytest.mark.parametrize("delay", [0.05, 0.25])
def test_a_slow_engine(parts, delay):
    """Replies come late: messages too, and that is all; the window is the bound of what waits here."""
    proxy, node, device = parts
    lines = len(node.text())
    proxy.delay = delay
    try:
        for i in range(500):
            device.client.publish("plant/1/t", f'"{i} at {delay}"', 1)
        wait_until(lambda: value(node) == f"499 at {delay}", 20, "the last of them")
        values = [message["data"] for message in node.get("/channels/plant/1/t/history").json()["messages"]][-500:]
        assert values == [f"{i} at {delay}" for i in range(500)]
        assert "takes no messages in any more" not in node.text()[lines:] and node.metric("sluice_engine_lost_total") == 0
    finally:
        proxy.delay = 0


def test_an_engine_slower_than_the_lease(parts):
    """Nobody can hold a lease of 1.5 s with replies after 2 s: that is said, and clients are told; and then it is over."""
    proxy, node, device = parts
    lines = len(node.text())
    proxy.delay = 2
    try:
        wait_until(lambda: "does not answer" in node.text()[lines:], what="the log to say it")
        wait_until(lambda: node.get("/readyz").status_code == 503, what="not ready")
        device.publish("plant/1/t", '"kept"')
        assert value(node) != "kept"
    finally:
        proxy.delay = 0
        proxy.splice()
    node.wait_ready()
    wait_until(lambda: value(node) == "kept", what="what the broker kept")
