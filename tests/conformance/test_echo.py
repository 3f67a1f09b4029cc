"""sluice-echo answers as the protocols' suites expect of an application: a few of their cases, with clients from Debian.

The suites themselves are run by socketio.py (docs/conformance.md). SLUICE_BINARY names sluice-echo."""
import json
import pathlib
import sys

import pytest
import requests
from websocket import ABNF, create_connection

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if pathlib.Path(path).resolve() != HERE]  # its socketio.py is not the library
sys.path.insert(0, str(HERE.parent / "support"))
import harness  # noqa: E402
from socketio import Client  # noqa: E402

CONFIG = """
broker: {{ url: mqtt://127.0.0.1:{broker} }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: 3
routes: [{{ topic: "lamps/{{id}}" }}]
socketio: {{ path: {path}, namespaces: [/custom] }}
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = harness.Broker(tmp_path_factory.mktemp("echo"))
    yield broker
    broker.end()


@pytest.fixture
def echo(broker, tmp_path):
    started = []

    def start(path):
        started.append(harness.Sluice(tmp_path, CONFIG.format(broker=broker.port, path=path)))
        return started[0]
    yield start
    for sluice in started:
        sluice.end()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
@pytest.mark.parametrize("namespace", ["/", "/custom"])
def test_socket_io(echo, transports, namespace):
    sluice, client, got = echo("/socket.io/"), Client(), []
    client.on("auth", lambda auth: got.append(auth), namespace=namespace)
    client.on("message-back", lambda *arguments: got.append(arguments), namespace=namespace)
    client.connect(sluice.http, transports=transports, namespaces=[namespace], auth={"token": "123"})
    try:
        harness.wait_until(lambda: got == [{"token": "123"}], 10, "the event auth")
        client.emit("message", (1, "2", {"3": [True]}), namespace=namespace)
        client.emit("message", (b"\x01\x02\x03", {"a": b"\xff"}), namespace=namespace)
        harness.wait_until(lambda: len(got) == 3, 10, "both messages")
        assert sorted(got[1:], key=len) == [(b"\x01\x02\x03", {"a": b"\xff"}), (1, "2", {"3": [True]})]
        assert client.call("message-with-ack", ("1", [b"\x04"]), namespace=namespace) == ("1", [b"\x04"])
    finally:
        client.disconnect()


def test_engine_io(echo):
    sluice = echo("/engine.io/")
    address = f"{sluice.http}/engine.io/?EIO=4&transport=polling"
    opened = json.loads(requests.get(address, timeout=5).text[1:])
    address += "&sid=" + opened["sid"]
    assert requests.post(address, data="4hello\x1e4again\x1ebAQID", timeout=5).text == "ok"
    assert requests.get(address, timeout=5).text == "4hello\x1e4again\x1ebAQID"
    ws = create_connection(f"{sluice.ws}/engine.io/?EIO=4&transport=websocket", timeout=10)
    ws.recv()
    ws.send("4hello")
    assert ws.recv() == "4hello"
    ws.send(b"\x01\x02", ABNF.OPCODE_BINARY)
    assert ws.recv() == b"\x01\x02"
    ws.close()
