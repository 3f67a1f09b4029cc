"""`aggregate` where gateways share a sequence: each node makes the same windows of the same log, and a client goes on with its cursor on another."""
import json
import math
import sys
import threading

import requests
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

ROUTES = '  - { topic: "rooms/{name}", history: { count: 20000 } }\n'
EVERY = 500


class Reader:
    """Follows the windows of a node in a thread."""

    def __init__(self, node, cursor=None):
        self.windows, self.place = {}, None
        self.stream = requests.get(node.http + "/sse", params={"channel": "rooms/a", "aggregate": f"/t:{EVERY}ms", "cursor": cursor or ""}, stream=True, timeout=20)
        self.thread = threading.Thread(target=self.run)
        self.over = False
        self.thread.start()

    def run(self):
        for line in self.stream.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("id: "):
                self.place = line[4:]
            if line.startswith("data: ") and "data" in (message := json.loads(line[6:])):
                self.windows[message["data"]["t"]] = message["data"]
            if self.over:
                break

    def end(self):
        self.over = True
        self.thread.join()
        self.stream.close()


def oracle(node):
    windows = {}
    for message in node.get("/channels/rooms/a/history").json()["messages"]:
        windows.setdefault(message["ts"] - message["ts"] % EVERY, []).append(message["data"]["t"])
    return windows


def test_the_same_windows_on_every_node(tmp_path):
    with cases.World(tmp_path, nodes=2, routes=ROUTES) as world:
        device, over = Mqtt(world.broker.port), threading.Event()

        def feed():
            value = 0
            while not over.wait(0.01):
                value += 1
                device.client.publish("rooms/a", json.dumps({"t": value * 37 % 101}), 1)
        feeder = threading.Thread(target=feed)
        readers = [Reader(node) for node in world.nodes]
        feeder.start()
        try:
            wait_until(lambda: all(len(reader.windows) >= 3 for reader in readers), 20, "three windows on both nodes")
            readers[0].end()
            readers.append(Reader(world.nodes[1], readers[0].place)) # on the other node, from where it was
            wait_until(lambda: len(readers[2].windows) >= 3, 20, "windows on the other node")
        finally:
            over.set()
            feeder.join()
        wanted = oracle(world.nodes[1])
        wait_until(lambda: max(readers[1].windows) == max(readers[2].windows) == max(wanted), 20, "the last window")
        for reader in readers[1:]:
            reader.over = True
        device.client.publish("rooms/a", json.dumps({"t": 1}), 1) # so that the threads see that they are to end
        for reader in readers[1:]:
            reader.end()
        device.close()
        for windows in (readers[1].windows, readers[0].windows | readers[2].windows):
            for t, values in wanted.items():
                if t >= min(windows) and "partial" not in windows[t]:
                    data = windows[t]
                    assert (data["count"], data["min"], data["max"], data["last"]) == (len(values), min(values), max(values), values[-1])
                    assert math.isclose(data["mean"], math.fsum(values) / len(values))
