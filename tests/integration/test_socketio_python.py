"""The stock Socket.IO client of Python (python3-socketio), by polling, WebSocket and upgrade."""
import subprocess

import pytest
import socketio
from conftest import yaml
from harness import wait_until

TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]
IDS = ["+".join(transports) for transports in TRANSPORTS]


@pytest.fixture
def connect(world):
    broker = world.broker()
    clients = []

    def make(transports, extra="workers: 3\nsocketio: true", **auth):
        if not hasattr(make, "sluice"):
            make.sluice = world.sluice(yaml(broker.port, extra=extra))
        client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.2)
        client.got = []
        client.on("message", lambda message, offset=None: client.got.append(message))
        client.connect(make.sluice.http, transports=transports, auth=auth or None)
        clients.append(client)
        return client

    make.publish = lambda topic, lines, *more: subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-l", *more], input="\n".join(map(str, lines)) + "\n",
        text=True, check=True, timeout=60)
    yield make
    for client in clients:
        client.disconnect()


@pytest.mark.parametrize("transports", TRANSPORTS, ids=IDS)
def test_a_stock_client(connect, transports):
    client = connect(transports)
    connect.publish("deep/a", [1], "-r")
    wait_until(lambda: connect.sluice.get("/channels/deep%2Fa").ok, 10, "the value")
    answer = client.call("subscribe", "deep/#", timeout=20)
    assert answer["status"] == "subscribed" and answer["snapshot"] == 1
    wait_until(lambda: [m["data"] for m in client.got] == [1], 10, "the last value")
    assert client.call("publish", ("deep/b", {"x": 2}), timeout=20) == {"status": "published"}
    assert client.call("publish", {"topic": "deep/b", "payload": "text"}, timeout=20) == {"status": "published"}
    wait_until(lambda: [m["data"] for m in client.got[1:]] == [{"x": 2}, "text"], 10, "what it has published")
    refused = client.call("publish", ("nowhere", 1), timeout=20)
    assert refused["status"] == "error" and refused["code"] == "unknown_channel"
    assert client.call("unsubscribe", "deep/#", timeout=20)["status"] == "unsubscribed"


@pytest.mark.parametrize("transports", TRANSPORTS, ids=IDS)
def test_more_messages_than_it_takes_in_one_poll(connect, transports):
    """It ends when an answer has more than 16 packets."""
    client = connect(transports)
    assert client.call("subscribe", {"channel": "deep/n"}, timeout=20)["status"] == "subscribed"
    connect.publish("deep/n", range(2000))
    wait_until(lambda: len(client.got) >= 2000, 60, lambda: f"2000 messages, {len(client.got)} have come")
    # It handles each message in a thread of its own, so they may change places here; the cursors say how they were sent.
    assert [m["data"] for m in sorted(client.got, key=lambda m: int(m["cursor"].rsplit(".", 1)[1]))] == list(range(2000))


def test_bytes_are_bytes(connect):
    client = connect(["polling", "websocket"])
    client.call("subscribe", "deep/x", timeout=20)
    assert client.call("publish", ("deep/x", b"\x00\xff\x80"), timeout=20) == {"status": "published"}
    wait_until(lambda: client.got, 10, "the message")
    assert client.got[0]["data"] == b"\x00\xff\x80"
