"""What people report about other servers of MQTT over WebSocket, with the reports. What they say must not happen here."""
import asyncio
import socket
import ssl
import struct

import paho.mqtt.client as mqtt
import pytest
import websockets
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Paho, Raw, packet, text
from tlsfiles import certificate, ports, with_listeners

pytestmark = pytest.mark.memory

EXTRA = "mqtt: {}\nweb: { compression: true }\nlimits: { frame: 1MiB }\n"


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra=EXTRA))


async def receive(ws):
    return await asyncio.wait_for(ws.recv(), 15)


def whole(payload):
    """Is it one packet and nothing else?"""
    size, shift, at = 0, 0, 1
    while True:
        size |= (payload[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if payload[at - 1] < 128:
            return len(payload) == at + size


@pytest.mark.parametrize("qos", [0, 1])
def test_each_frame_is_one_packet(gateway, client, qos):
    """paho.mqtt.javascript 45, paho.mqtt.c 912: older clients take no more out of a frame, nor less."""
    for i in range(20):
        client.publish(f"rooms/frames{qos}/{i}", "last")
    wait_until(lambda: gateway.get(f"/channels/rooms/frames{qos}/19").ok)
    with Raw(gateway) as raw:
        raw.connect(4)
        raw.send(0x82, b"\0\1" + text(f"rooms/frames{qos}/+") + bytes([qos]))
        for i in range(60):
            client.publish(f"rooms/frames{qos}/{i}", str(i))
        client.publish(f"rooms/frames{qos}/end", "the end")
        opcode, payload = raw.next_frame()
        while not payload.endswith(b"the end"):
            assert opcode == 2 and whole(payload), payload[:40]
            opcode, payload = raw.next_frame()


@pytest.mark.parametrize("size", [4080, 4096, 4097, 65535, 65536, 300000])
@BOTH
def test_sizes(paho, shared, client, gateway, version, size):
    """mosquitto 59, 427, 472, 1974: messages above some buffer's size end the connection or are not seen."""
    name, payload = f"rooms/sizes{version}/{size}", bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/s{version}-{size}"])
    watcher = paho(version=version).connected()
    watcher.subscribe(name, 1)
    client.publish(name, payload)
    wait_until(lambda: watcher.got(name) == [payload])
    other = paho(version=version).connected()
    other.subscribe(name, 0)
    wait_until(lambda: other.got(name) == [payload])
    watcher.publish(f"lamps/s{version}-{size}", payload, 1)
    wait_until(lambda: device.payloads(f"lamps/s{version}-{size}") == [payload])


async def test_a_take_over_with_tls(shared, client):
    """mosquitto 1489: after a take-over on a listener with TLS, the new connection gets nothing."""
    cert, key = certificate(shared.directory, "reports")
    gateway = shared.sluice(with_listeners(yaml(shared.main_broker.port, extra=EXTRA),
                                           f"  - {{ address: 127.0.0.1:0, tls: {{ cert_file: {cert}, key_file: {key} }} }}\n"))
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False

    async def attach():
        ws = await websockets.connect(f"wss://127.0.0.1:{ports(gateway)[1]}/mqtt", ssl=context, subprotocols=["mqtt"])
        await ws.send(packet(0x10, text("MQTT") + b"\4\2\0\0" + text("same")))
        assert (await receive(ws))[0] == 0x20
        await ws.send(packet(0x82, b"\0\1" + text("rooms/taken/t") + b"\0"))
        assert (await receive(ws))[0] == 0x90
        return ws

    older = []
    for i in range(4):
        older.append(await attach())
        client.publish("rooms/taken/t", f"message {i}")
        while not (await receive(older[-1])).endswith(f"message {i}".encode()):
            pass
    for ws in older:
        await ws.close()


@BOTH
@pytest.mark.parametrize("politely", [True, False])
def test_a_kept_session_that_subscribes_again(gateway, client, version, politely):
    """mosquitto 645, 1227: every second time the client gets nothing."""
    name = f"rooms/again{version}{politely}/t"
    for i in range(4):
        with Raw(gateway) as raw:
            raw.connect(version, 0, name, properties=b"\x11\0\0\0\x3c")
            raw.send(0x82, b"\0\1" + (b"\0" if version == mqtt.MQTTv5 else b"") + text(name) + b"\0")
            while raw.receive()[0] != 0x90:
                pass
            client.publish(name, f"message {i}")
            while not raw.receive()[1].endswith(f"message {i}".encode()):
                pass
            if politely:
                raw.send(0xe0)
                assert raw.receive() is None


@BOTH
def test_a_server_that_starts_anew_says_that_it_knows_no_session(world, version):
    """MQTT.js 749, 895, mosquitto 1135: a client that believes in its session subscribes to nothing, and gets nothing."""
    broker = world.broker()
    flags, block = (0, b"\x11\0\0\0\x3c") if version == mqtt.MQTTv5 else (0, b"")
    for _ in range(2):
        gateway = world.sluice(yaml(broker.port, extra=EXTRA))
        for present in (0, 1):
            with Raw(gateway) as raw:
                assert raw.connect(version, flags, "believes", properties=block)[0] == present
                raw.send(0xe0)
                assert raw.receive() is None
        gateway.stop()


def test_all_subscriptions_of_a_session_bring_what_was_missed(gateway, client):
    """MQTT.js 647: only those of the last subscription come."""
    names = [f"rooms/three/{i}" for i in range(3)]
    watcher = Paho(gateway, version=mqtt.MQTTv311, client_id="three", clean=False).connected()
    for name in names:
        assert watcher.subscribe(name, 2) == [1]
    watcher.close()
    for name in names:
        client.publish(name, "missed")
    wait_until(lambda: gateway.get("/channels/" + names[-1]).ok)
    watcher = Paho(gateway, version=mqtt.MQTTv311, client_id="three", clean=False).connected()
    try:
        wait_until(lambda: [m.topic for m in watcher.messages] == names)
    finally:
        watcher.close()


@pytest.mark.parametrize("payload", ["ä€".encode("utf-16"), b"\0", b"", bytes(range(256)), b"\x0d\x0a" * 20], ids=["utf-16", "nul", "nothing", "bytes", "lines"])
def test_payloads_are_bytes(paho, shared, client, payload):
    """MQTTnet 1690: only some payloads pass."""
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/bytes"])
    watcher = paho().connected()
    watcher.publish("lamps/bytes", payload, 1)
    wait_until(lambda: device.payloads("lamps/bytes") == [payload])


def test_pings_of_a_client_with_all_channels(gateway):
    """paho.mqtt.javascript 198: closed at the second ping after subscribing to #."""
    with Raw(gateway, protocol="mqttv3.1") as raw:
        raw.connect(4, keepalive=60)
        raw.send(0x82, b"\0\1" + text("#") + b"\0")
        answers = []
        for _ in range(3):
            raw.send(0xc0)
            while not answers or answers[-1] != 0xd0:
                answers.append(raw.receive()[0])
            answers.append(0)
        assert 0xe0 not in answers


def test_a_tab_that_is_closed_has_a_will(gateway, shared):
    """A browser closes with 1001 and without a DISCONNECT, or vanishes: both publish the will, once."""
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/tab"])
    for name in ("closed", "gone"):
        with Raw(gateway) as raw:
            raw.connect(4, 2 | 4, f"tab-{name}", rest=text("lamps/tab") + text(name))
            if name == "closed":
                raw.frame(struct.pack(">H", 1001), opcode=8)
        wait_until(lambda: device.payloads("lamps/tab")[-1:] == [name.encode()])
    assert device.payloads("lamps/tab") == [b"closed", b"gone"]


async def test_a_client_that_compresses(gateway, client):
    """Browsers offer permessage-deflate: what they then compress is read."""
    async with websockets.connect(f"ws://127.0.0.1:{gateway.port}/mqtt", subprotocols=["mqtt"], compression="deflate") as ws:
        assert ws.extensions and ws.subprotocol == "mqtt"
        await ws.send(packet(0x10, text("MQTT") + b"\4\2\0\0" + text("deflate")))
        assert (await receive(ws))[:2] == b"\x20\2"
        await ws.send(packet(0x82, b"\0\1" + text("rooms/deflate/+") + b"\1"))
        assert (await receive(ws))[0] == 0x90
        for i in range(200):
            client.publish("rooms/deflate/t", f"{i:03} " + "same " * 20)
        for i in range(200):
            publish = await receive(ws)
            assert f"{i:03} same".encode() in publish
            at = 2 + 2 + len("rooms/deflate/t")
            await ws.send(packet(0x40, publish[at:at + 2]))


def test_connections_without_connect(world):
    """mosquitto 1135: the time-out of connections that say nothing takes the server down."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra=EXTRA + "roles: { all: { subscribe: ['#'] } }\nauth: { hello_timeout: 200ms, anonymous: all }\n"))
    silent = [Raw(gateway) for _ in range(20)]
    for raw in silent:
        assert raw.receive() is None or raw.closed
        raw.socket.shutdown(socket.SHUT_RDWR)
        raw.socket.close()
    assert gateway.get("/healthz").ok


@BOTH
def test_the_pace_of_a_route(world, version):
    """A route's pace holds for MQTT clients as for others: the newest value of an interval comes."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'paced/{name}', rate: { policy: latest, interval: 300ms } }\n", extra=EXTRA))
    device = world.mqtt(broker.port)
    watcher = Paho(gateway, version=version).connected()
    try:
        watcher.subscribe("paced/+", 1)
        for i in range(200):
            device.publish("paced/a", str(i))
        wait_until(lambda: watcher.got("paced/a")[-1:] == [b"199"])
        assert len(watcher.messages) < 100
    finally:
        watcher.close()
