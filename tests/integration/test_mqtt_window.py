"""The window of a client at QoS 1: how many messages are on their way, and every way to acknowledge them."""
import itertools
import struct

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import Raw, packet, text
from paho.mqtt.subscribeoptions import SubscribeOptions

pytestmark = pytest.mark.memory

TOPIC = "rooms/window/t"
WAYS = {  # what follows the type of a PUBACK, for an identifier
    "3.1.1": (4, lambda id: packet(0x40, id)),
    "5.0": (5, lambda id: packet(0x40, id)),
    "a reason": (5, lambda id: packet(0x40, id + b"\0")),
    "no properties": (5, lambda id: packet(0x40, id + b"\0\0")),
    "an error": (5, lambda id: packet(0x40, id + b"\x80\0")),
    "a property": (5, lambda id: packet(0x40, id + b"\0\5\x1f\0\2ok")),
}


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { receive_maximum: 5 }\n"))


def begin(gateway, version, window=None):
    raw = Raw(gateway)
    raw.connect(version, properties=b"\x21" + struct.pack(">H", window) if window else b"")
    raw.send(0x82, b"\0\1" + (b"\0" if version == 5 else b"") + text(TOPIC) + (b"\x21" if version == 5 else b"\1"))
    assert raw.receive()[0] == 0x90
    return raw


def take(raw, version):
    """The next message that is no last value: identifier, number."""
    while True:
        first, body = raw.receive()
        if first == 0x32:
            at = 2 + len(TOPIC)
            return body[at:at + 2], int(body[at + 2 + (version == 5):])
        if first == 0x33:
            raw.send(0x40, body[2 + len(TOPIC):][:2])


def silent(raw):
    """Nothing but the answer to a ping comes."""
    raw.send(0xc0)
    assert raw.receive() == (0xd0, b"")


def publish(client, numbers):
    for number in numbers:
        client.publish(TOPIC, str(number))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("window", [1, 3, None])
def test_every_way_to_acknowledge(gateway, client, way, window):
    version, acknowledge = WAYS[way]
    window = window if version == 5 else None
    with begin(gateway, version, window) as raw:
        publish(client, range(12))
        for first in range(0, 12, window or 5):
            batch = [take(raw, version) for _ in range(first, min(12, first + (window or 5)))]
            silent(raw)
            assert [number for _, number in batch] == list(range(first, min(12, first + (window or 5))))
            for id, _ in batch:
                raw.frame(acknowledge(id))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order(gateway, client, order):
    """An acknowledgement makes room for one message, whichever it is for; one that is not expected for none."""
    with begin(gateway, 5, 3) as raw:
        publish(client, range(30))
        waiting, got = [take(raw, 5) for _ in range(3)], []
        while len(got) < 30:
            assert len({id for id, _ in waiting}) == len(waiting)
            for at in order[:len(waiting)]:
                raw.frame(packet(0x40, waiting[at % len(waiting)][0]))
                raw.frame(packet(0x40, b"\xff\xf0"))
            got += [number for _, number in waiting]
            waiting = [take(raw, 5) for _ in range(min(3, 30 - len(got)))]
        assert got == list(range(30))
        silent(raw)


def test_acknowledgements_in_one_frame_and_in_pieces(gateway, client):
    with begin(gateway, 4) as raw:
        publish(client, range(10))
        acks = b"".join(packet(0x40, take(raw, 4)[0]) for _ in range(5))
        raw.frame(acks[:10])
        raw.frame(acks[10:11])
        raw.frame(acks[11:])
        assert [take(raw, 4)[1] for _ in range(5)] == list(range(5, 10))


@pytest.mark.parametrize("ack", [b"\x40\2\0\0", b"\x42\2\0\1", b"\x40\3\0\1\0", b"\x40\1\0", b"\x40\x82\0\0\1"],
                         ids=["0", "flags", "long in 3.1.1", "short", "length not in its shortest form"])
def test_what_is_no_acknowledgement_ends_the_client(gateway, client, ack):
    with begin(gateway, 4) as raw:
        publish(client, range(3))
        take(raw, 4)
        raw.frame(ack)
        while raw.receive():
            pass
        assert raw.closed[0] == 1002, raw.closed


def test_identifiers_of_what_is_on_its_way_are_left_out(gateway, client):
    """One message is never acknowledged while the identifiers go round."""
    with begin(gateway, 5, 2) as raw:
        publish(client, [0])
        held, _ = take(raw, 5)
        seen = set()
        for number in range(1, 301):
            publish(client, [number])
            id, got = take(raw, 5)
            assert got == number and id != held and id != b"\0\0"
            seen.add(id)
            raw.frame(packet(0x40, id))
        assert len(seen) == 300


@pytest.mark.parametrize("qos", [0, 1])
def test_retain_as_published(paho, gateway, client, qos):
    """Of live messages as well, where the broker tells (MQTT 5.0 section 3.8.3.1)."""
    name = f"rooms/published{qos}/t"
    client.publish(name, "old")
    wait_until(lambda: gateway.get("/channels/" + name).ok)
    watcher, other = paho(where=gateway).connected(), paho(where=gateway, version=mqtt.MQTTv311).connected()
    watcher.subscribe(name, options=SubscribeOptions(qos, retainAsPublished=True))
    other.subscribe(name, qos)
    for payload, retain in (("1", True), ("2", False), ("3", True)):
        client.publish(name, payload, retain=retain)
    wait_until(lambda: len(watcher.messages) == len(other.messages) == 4)
    assert [(m.payload, m.retain) for m in watcher.messages] == [(b"old", 1), (b"1", 1), (b"2", 0), (b"3", 1)]
    assert [m.retain for m in other.messages] == [1, 0, 0, 0]


@pytest.mark.parametrize("way", ["live", "kept"])
def test_a_client_that_acknowledges_late_misses_nothing(shared, client, way):
    """What does not fit into its queue comes from the history, in order and once; a kept session goes on in the middle of that."""
    gateway = shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { receive_maximum: 5 }\nlimits: { queue: 4KiB }\n"))
    name = f"rooms/late-{way}/t"
    raw, got = Raw(gateway), []
    raw.connect(4, 0, name)
    raw.send(0x82, b"\0\1" + text(name) + b"\1")
    assert raw.receive()[0] == 0x90
    for number in range(2000):
        client.publish(name, str(number))
    wait_until(lambda: gateway.get(f"/channels/{name}").json().get("data") == 1999)
    breaks = {100, 101, 1500} if way == "kept" else set()
    while len(got) < 2000:
        if len(got) in breaks:
            breaks.remove(len(got))
            raw.socket.close()
            raw = Raw(gateway)
            assert raw.connect(4, 0, name)[0] == 1
        first, body = raw.receive()
        at = 2 + len(name)
        number = int(body[at + 2:])
        raw.send(0x40, body[at:at + 2])
        if first & 8 and number < len(got):  # its acknowledgement was on the way when the connection broke
            continue
        assert first & 0xf6 == 0x32 and number == len(got), (first, number, len(got))
        got.append(number)
    raw.socket.close()
