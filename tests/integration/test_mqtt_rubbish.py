"""MQTT clients that keep to no rules, and bounds: each has its code, and no other client notices."""
import select
import socket
import struct

import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import Raw, packet, text

pytestmark = pytest.mark.memory


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { path: /mqtt, names: channels }\nlog: { level: debug }\n"))


RUBBISH = {
    "no CONNECT first": (b"\xc0\0", None),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", None),
    "type 0": (b"\0\0", None),
    "a length without an end": (b"\x10\xff\xff\xff\xff\xff", None),
    "a version that there is not": (packet(0x10, text("MQTT") + b"\x09\2\0\0\0\0\0"), (0x20, 0x84)),
    "a CONNECT that is cut": (packet(0x10, text("MQTT") + b"\5\2\0\0\0\0\5a"), (0x20, 0x81)),
    "a client identifier that is no UTF-8": (packet(0x10, text("MQTT") + b"\5\2\0\0\0" + text(b"\xff")), (0x20, 0x81)),
    "a kept session without a client identifier": (packet(0x10, text("MQTT") + b"\4\0\0\0\0\0"), (0x20, 2)),
    "a reserved flag": (packet(0x10, text("MQTT") + b"\5\3\0\0\0\0\0"), (0x20, 0x81)),
    "a receive maximum of 0": (packet(0x10, text("MQTT") + b"\5\2\0\0\3\x21\0\0\0\0"), (0x20, 0x82)),
    "a CONNECT larger than limits.frame": (b"\x10\xff\xff\xff\x7f", None),
    "another protocol's name": (packet(0x10, text("AMQP") + b"\5\2\0\0\0\0\0"), None),
    "an authentication method": (packet(0x10, text("MQTT") + b"\5\2\0\0\4\x15\0\1m" + text("a")), (0x20, 0x8c)),
}
CONNECTED = {
    "CONNECT again": (packet(0x10, text("MQTT") + b"\5\2\0\0\0\0\0"), 0x82),
    "CONNACK": (packet(0x20, b"\0\0\0"), 0x82),
    "AUTH": (packet(0xf0, b""), 0x82),
    "SUBSCRIBE without its flags": (packet(0x80, b"\0\1\0" + text("a") + b"\0"), 0x81),
    "no filter": (packet(0x82, b"\0\1\0"), 0x82),
    "PUBLISH of QoS 3": (packet(0x36, text("lamps/1") + b"\0\1\0"), 0x81),
    "an alias of 0": (packet(0x30, text("lamps/1") + b"\3\x23\0\0"), 0x94),
    "a packet identifier of 0": (packet(0x32, text("lamps/1") + b"\0\0\0"), 0x82),
    "SUBSCRIBE with the identifier 0": (packet(0x82, b"\0\0\0" + text("a") + b"\0"), 0x82),
    "a topic that is no UTF-8": (packet(0x30, text(b"lamps/\xff") + b"\0"), 0x81),
    "a topic with NUL": (packet(0x30, text(b"lamps/\0") + b"\0"), 0x81),
    "a topic with half of a surrogate pair": (packet(0x30, text(b"lamps/\xed\xa0\x80") + b"\0"), 0x81),
    "a filter that is no UTF-8": (packet(0x82, b"\0\1\0" + text(b"\xc3") + b"\0"), 0x81),
    "a content type that is no UTF-8": (packet(0x30, text("lamps/1") + b"\5\3" + text(b"\xc3\x28")), 0x81),
    "a payload format of 2": (packet(0x30, text("lamps/1") + b"\2\1\2"), 0x82),
    "a property twice": (packet(0x30, text("lamps/1") + b"\4\1\1\1\1"), 0x82),
    "a response topic with a wildcard": (packet(0x30, text("lamps/1") + b"\6\x08" + text("a/#")), 0x82),
    "a length in more bytes than it needs": (b"\xc0\x80\0", 0x81),
    "a topic longer than its packet": (packet(0x30, b"\0\x30lamps"), 0x81),
    "shared, with no local": (packet(0x82, b"\0\1\0" + text("$share/g/a") + b"\4"), 0x82),
    "retain handling 3": (packet(0x82, b"\0\1\0" + text("a") + b"\x30"), 0x82),
    "a subscription identifier of 0": (packet(0x82, b"\0\1\2\x0b\0" + text("a") + b"\0"), 0x82),
    "a session expiry that was not asked for": (packet(0xe0, b"\0\5\x11\0\0\0\1"), 0x82),
    "UNSUBSCRIBE without a filter": (packet(0xa2, b"\0\1\0"), 0x82),
    "PUBLISH to a wildcard": (packet(0x30, text("lamps/#") + b"\0"), 0x90),
    "an alias beyond the maximum": (packet(0x30, text("lamps/1") + b"\3\x23\0\x11"), 0x94),
    "an alias that stands for nothing": (packet(0x30, text("") + b"\3\x23\0\1"), 0x82),
    "a property of another packet": (packet(0x30, text("lamps/1") + b"\3\x21\0\1"), 0x81),
    "PINGREQ with content": (packet(0xc0, b"x"), 0x81),
    "larger than limits.frame": (b"\x30\xff\xff\xff\x7f", 0x95),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_before_connect(gateway, name):
    data, answer = RUBBISH[name]
    with Raw(gateway) as raw:
        raw.frame(data)
        if answer:
            first, body = raw.receive()
            assert (first, body[1]) == answer
        assert raw.receive() is None
        assert raw.closed[0] in (1002, 1008, 1009)


@pytest.mark.parametrize("name", CONNECTED)
def test_rubbish_ends_the_client_with_its_code_and_no_other_one(gateway, name):
    data, code = CONNECTED[name]
    with Raw(gateway) as neighbour, Raw(gateway) as raw:
        neighbour.connect(5)
        raw.connect(5)
        raw.frame(data)
        first, body = raw.receive()
        assert (first, body[0]) == (0xe0, code) and raw.receive() is None
        neighbour.send(0xc0)
        assert neighbour.receive() == (0xd0, b"")


def test_text_frames_are_refused(gateway):
    with Raw(gateway) as raw:
        raw.frame(b"\x10\0", opcode=1)
        assert raw.receive() is None and raw.closed[0] == 1003


def test_packets_span_frames_and_frames_hold_packets(gateway):
    with Raw(gateway) as raw:
        connect = packet(0x10, text("MQTT") + b"\4\2\0\0" + text("pieces"))
        for byte in connect + packet(0xc0, b""):
            raw.frame(bytes([byte]))
        assert raw.receive() == (0x20, b"\0\0") and raw.receive() == (0xd0, b"")
        raw.frame(packet(0xc0, b"") * 3 + packet(0x82, b"\0\1" + text("rooms/#") + b"\0")[:-4])
        assert [raw.receive() for _ in range(3)] == [(0xd0, b"")] * 3
        raw.frame(packet(0x82, b"\0\1" + text("rooms/#") + b"\0")[-4:])
        assert raw.receive() == (0x90, b"\0\1\0")


def test_packets_in_fragments_of_a_message(gateway):
    """A WebSocket message may come in continuation frames, with pings in between."""
    with Raw(gateway) as raw:
        connect = packet(0x10, text("MQTT") + b"\5\2\0\0\0" + text("fragments"))
        raw.frame(connect[:3], opcode=2, last=False)
        raw.frame(b"ping", opcode=9)
        raw.frame(connect[3:-1], opcode=0, last=False)
        raw.frame(connect[-1:] + packet(0xc0, b""), opcode=0)
        assert raw.receive()[0] == 0x20 and raw.receive() == (0xd0, b"")


def test_an_identifier_in_use_is_published_all_the_same(shared, gateway):
    """A client that uses one for two publishes at QoS 1 before the first is acknowledged: each has its PUBACK."""
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/same"])
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.frame(packet(0x32, text("lamps/same") + b"\0\1\0a") + packet(0x32, text("lamps/same") + b"\0\1\0b"))
        assert [raw.receive() for _ in range(2)] == [(0x40, b"\0\1")] * 2
        for first in (0x40, 0x50, 0x62, 0x70):  # acknowledgements of nothing
            raw.send(first, b"\0\x63")
        raw.send(0xc0)
        answers = []
        while not answers or answers[-1][0] != 0xd0:
            answers.append(raw.receive())
        assert [(kind, body[:3]) for kind, body in answers[:-1]] == [(0x62, b"\0\x63\x92"), (0x70, b"\0\x63\x92")]
    wait_until(lambda: sorted(device.payloads("lamps/same")) == [b"a", b"b"])


def test_topics_of_the_broker_itself(gateway, client):
    """`#` has none of them; no route leads to $SYS, and nobody hears what nobody may."""
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.send(0x82, b"\0\1\0" + text("$SYS/#") + b"\0" + text("#") + b"\2" + text("$share/g/#") + b"\0" + text("$share") + b"\0")
        while True:
            first, body = raw.receive()
            if first == 0x90:
                break
        assert body[-4:] in (b"\x8f\1\x9e\x8f", b"\x87\1\x9e\x8f"), body
        raw.send(0x32, text("$SYS/broker") + b"\0\1\0x")
        while (answer := raw.receive())[0] != 0x40:
            assert not answer[1].startswith(text("$SYS")[:6])
        assert answer[1][:3] == b"\0\1\x90"


def test_keep_alive_of_0_is_none(gateway):
    """And one that is kept by publishes alone needs no PINGREQ."""
    with Raw(gateway) as silent, Raw(gateway) as busy:
        silent.connect(5, keepalive=0)
        busy.connect(5, keepalive=1)
        for i in range(4):
            busy.send(0x32, text("lamps/alive") + struct.pack(">H", i + 1) + b"\0x")
            assert busy.receive()[0] == 0x40
            assert not select.select([busy.socket], [], [], 0.45)[0] # in all more than one and a half times the keep-alive
        silent.send(0xc0)
        assert silent.receive() == (0xd0, b"")


def test_long_client_identifiers(gateway):
    """Of any length that MQTT has; two that differ in the last byte are two."""
    with Raw(gateway) as one, Raw(gateway) as other:
        one.connect(5, client_id="c" * 65000 + "a")
        other.connect(5, client_id="c" * 65000 + "b")
        one.send(0xc0)
        assert one.receive() == (0xd0, b"")


def test_limits_have_their_codes(shared):
    gateway = shared.sluice(yaml(shared.main_broker.port, extra="mqtt: {}\nlimits: { message_rate: 20, subscriptions: 2, publishes_per_session: 4, frame: 4KiB }\n"))
    with Raw(gateway) as raw:
        answer = raw.connect(5)
        assert b"\x21\0\4" in answer and b"\x27\0\0\x10\0" in answer  # receive maximum, maximum packet size
        raw.send(0x82, b"\0\1\0" + b"".join(text(f"rooms/{i}/t") + b"\0" for i in range(3)))
        assert raw.receive()[1][-3:] == b"\0\0\x97"
        raw.frame(packet(0xc0, b"") * 30)
        answers = [raw.receive() for _ in range(19)]
        while answers[-1] and answers[-1][0] != 0xe0:
            answers.append(raw.receive())
        assert answers[-1][1][0] == 0x96
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.frame(packet(0x30, text("lamps/1") + b"\0" + b"x" * 5000)[:4000])
        first, body = raw.receive()
        assert (first, body[0]) == (0xe0, 0x95)


@pytest.mark.parametrize("version", [4, 5])
def test_more_than_the_receive_maximum_waits_in_the_socket(world, version):
    """Stock clients take no notice of it. While the broker is silent the gateway does not read on, and nothing is lost."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="mqtt: {}\nlimits: { publishes_per_session: 4, frame: 4KiB, queue: 4KiB }\n"))
    device = world.mqtt(broker.port, subscribe=["lamps/#"])
    publish = [packet(0x34, text("lamps/1") + struct.pack(">H", i) + (b"\0" if version == 5 else b"") + b"x" * 50) for i in range(1, 301)]
    with Raw(gateway) as raw:
        raw.connect(version)
        broker.freeze()
        for i in range(0, 300, 20):
            raw.frame(b"".join(publish[i:i + 20]))
        raw.send(0xc0)
        broker.thaw()
        answers = [raw.receive() for _ in range(301)]
        assert [answer for answer in answers if answer[0] != 0xd0] == [(0x50, struct.pack(">H", i)) for i in range(1, 301)]
    wait_until(lambda: len(device.messages) == 300)


def test_messages_larger_than_the_client_takes_are_left_out(gateway, client):
    with Raw(gateway) as raw:
        raw.connect(5, properties=b"\x27\0\0\0\x64")
        raw.send(0x82, b"\0\1\0" + text("rooms/large/+") + b"\0")
        assert raw.receive()[0] == 0x90
        client.publish("rooms/large/t", b"x" * 200)
        client.publish("rooms/large/t", b"small")
        assert raw.receive() == (0x30, text("rooms/large/t") + b"\0small")


def test_no_mqtt_without_its_table(sluice):
    assert sluice.get("/mqtt").status_code == 404
    assert b" 404 " in handshake(sluice)


def handshake(gateway, protocol="Sec-WebSocket-Protocol: mqtt\r\n"):
    with socket.create_connection(("127.0.0.1", gateway.port), 15) as raw:
        raw.sendall(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    + protocol.encode() + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        return raw.recv(4096)


def test_subprotocols(gateway):
    for offered, chosen in (("mqtt", b"mqtt"), ("mqttv3.1", b"mqttv3.1"), ("other, mqttv3.1", b"mqttv3.1")):
        with Raw(gateway, protocol=offered) as raw:
            assert b"Sec-WebSocket-Protocol: " + chosen + b"\r\n" in raw.head + b"\r\n"
    for header in ("", "Sec-WebSocket-Protocol: other\r\n"):  # browsers fail if a server chooses what they did not offer
        answer = handshake(gateway, header)
        assert b"Sec-WebSocket-Protocol" not in answer, answer
    with Raw(gateway, protocol="mqttv3.1") as raw:  # MQTT 3.1, as old clients speak it
        raw.send(0x10, text("MQIsdp") + b"\3\2\0\0" + text("old"))
        assert raw.receive() == (0x20, b"\0\0")
