"""Peers that send and do not read while something of theirs waits: for a device's state, for the first publish of a key, for a chart.
They are held up or cut off, nothing is buffered without bound, and others are served."""
import json
import socket
import time

import pytest
from conftest import World, yaml
from harness import SANITIZED, wait_until
from mqttclients import packet, text
from test_field_http import GROWTH_BYTES, HANDSHAKE, KERNEL_BYTES, mask
from test_floods import octets

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    history: { count: 1000 }
    publish: { topic: "z2m/{id}/set", confirm: { within: 1s } }
"""
# publishes_per_session is the bound of what waits, publish_rate none.
EXTRA = """
web: { keepalive: 5m, request_timeout: 5m }
mqtt: { path: /mqtt }
socketio: { ping_interval: 5m, ping_timeout: 5m, connect_timeout: 5m }
limits: { message_rate: 0, publish_rate: 1000000, queue: 256KiB, publishes_per_session: 50, confirms: 400, idempotency_keys: 1000 }
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A lamp that never shows what it is told, with some history."""
    world = World(tmp_path_factory.mktemp("waiting"))
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES, extra=EXTRA))
    gateway.wait_ready()
    lamp = world.mqtt(broker.port)
    lamp.client.subscribe("z2m/+/set")
    for value in range(500):
        lamp.client.publish("z2m/a", json.dumps({"state": "OFF", "power": value}), 1)
    wait_until(lambda: gateway.get("/channels/lamps/a").json().get("data", {}).get("power") == 499)
    yield gateway
    world.end()


def request(method, target, body="", headers=""):
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def command(**more):
    return mask(json.dumps({"type": "publish", "id": 1, "channel": "lamps/a", "data": {"state": "ON"}, **more}).encode())


def pair(name, value):
    return b"\x26" + text(name) + text(value)


def publish(mid, *properties):
    block = b"".join(pair(*one) for one in properties)
    return packet(0x32, text("lamps/a") + mid.to_bytes(2, "big") + bytes([len(block)]) + block + b'{"state":"ON"}')


ON = '{"state":"ON"}'
CONFIRM = request("POST", "/channels/lamps/a?confirm=true", ON)
KEYED = request("POST", "/channels/lamps/a?confirm=true", ON, "Idempotency-Key: one\r\n")
SERIES = request("GET", "/channels/lamps/a/series?field=/power&from=-1h&points=2000")


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


RANGE = {"from": at(-3600), "to": at(600)}
GRAFANA = request("POST", "/grafana/query", json.dumps({"range": RANGE, "maxDataPoints": 1000, "targets": [
    {"refId": "A", "target": "lamps/a#/power"}]}), "Content-Type: application/json\r\n")
CONNECT = packet(0x10, text("MQTT") + b"\x05\x02\0\0\0" + text(""))
MQTT = ("GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode() + octets(CONNECT)
SOCKETIO = (b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n") + mask(b"40")
WAITS = "waits"  # instead of an answer
SUBSCRIBE = mask(b'{"type":"subscribe","id":1,"channel":"lamps/#","since":"-1h"}')
SOCKETIO_PUBLISH = mask(b'421["publish",{"channel":"lamps/a","data":{"state":"ON"},"confirm":true}]')
CONFIRM_ME, SAME = ("sluice-confirm", "true"), ("sluice-idempotency-key", "same")
# By state: what comes first, what then comes for ever, and what the first of these leads to.
FLOODS = {
    "a POST that waits for the device": (CONFIRM, [request("GET", "/healthz")] * 500, WAITS),
    "POSTs that wait, one behind the other": (b"", [CONFIRM] * 300, WAITS),
    "a POST that waits for itself": (b"", [KEYED] * 300, WAITS),
    "/ws, commands that wait": (HANDSHAKE, [command(confirm=True)] * 1000, WAITS),
    "/ws, a key for each": (HANDSHAKE, [command(confirm=True, idempotency_key=f"k{i}") for i in range(1000)], WAITS),
    "/ws, repeats of one": (HANDSHAKE, [command(confirm=True, idempotency_key="ws")] * 1000, WAITS),
    "socket.io, commands that wait": (SOCKETIO, [SOCKETIO_PUBLISH] * 1000, WAITS),
    "mqtt, commands that wait": (MQTT, [octets(publish(i, CONFIRM_ME)) for i in range(1, 1000)], WAITS),
    "mqtt, repeats of one": (MQTT, [octets(publish(i, CONFIRM_ME, SAME)) for i in range(1, 1000)], WAITS),
    "charts not read": (b"", [SERIES] * 300, b'"count":[500]'),
    "Grafana's answers not read": (b"", [GRAFANA] * 300, b'"datapoints":[['),
    "subscriptions from a time, not read": (HANDSHAKE, [SUBSCRIBE] * 1000, b'"power": 499'),
}


def waits_or_answers(door, one, outcome):
    """So that a flood is what its name says."""
    if outcome == WAITS:
        wait_until(lambda: door.metric("sluice_confirms") > 0, 10, "a command to wait")
        return
    came = b""
    while outcome not in came:
        more = one.recv(65536)
        assert more, came
        came += more


@pytest.mark.parametrize("name", FLOODS)
def test_flood(door, name):
    first, then, outcome = FLOODS[name]
    wait_until(lambda: door.metric("sluice_confirms") == 0, 10, "the last flood to be over")
    before, accepted = door.rss(), 0
    with socket.create_connection(("127.0.0.1", door.port), 10) as one:
        one.sendall(first + then[0])
        waits_or_answers(door, one, outcome)
        one.settimeout(0.5)
        flood = b"".join(then)
        try:
            while accepted < 2 * KERNEL_BYTES:
                accepted += one.send(flood)
        except OSError:
            pass  # held up, or closed
        grown = door.rss() - before
        assert SANITIZED or grown < GROWTH_BYTES, f"{grown} bytes more after {accepted}"
    assert door.get("/healthz").status_code == 200
    # Nobody else is held up: neither a reader nor one who publishes without waiting for the device.
    assert door.get("/channels/lamps/a").json()["data"]["power"] == 499
    assert wait_until(lambda: door.post("/channels/lamps/b", data=ON).status_code == 200, 20)
    assert door.metric("sluice_confirms") <= 400

