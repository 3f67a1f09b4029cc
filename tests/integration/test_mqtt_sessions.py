"""MQTT sessions without a connection: a place in the sequence and subscriptions, no queue; take-over across workers."""
import contextlib
import struct
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import Paho, Raw, properties, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

pytestmark = pytest.mark.sanitize

BOTH = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5.0"])
KEPT = b"\x11\0\0\0\x3c"  # session expiry: a minute


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="workers: 4\nmqtt: {}\nlog: { level: debug }\n"))


def subscribe(raw, version, name, qos=1, id=1):
    raw.send(0x82, struct.pack(">H", id) + (b"\0" if version == 5 else b"") + text(name) + bytes([qos]))
    first, answer = raw.receive()
    assert first == 0x90 and answer[-1] == qos


def attach(gateway, version, client_id, clean=False, present=None, properties=KEPT):
    raw = Raw(gateway)
    answer = raw.connect(version, 2 if clean else 0, client_id, properties=properties if version == 5 else b"")
    assert present is None or answer[0] == present, answer
    return raw


def leave(raw):
    raw.send(0xe0)
    assert raw.receive() is None
    raw.socket.close()


def take(raw, version, acknowledge=True):
    """The next message: topic, payload, QoS, DUP, identifier."""
    while True:
        first, body = raw.receive()
        if first >> 4 == 3:
            break
    size = struct.unpack(">H", body[:2])[0]
    topic, body = body[2:2 + size].decode(), body[2 + size:]
    qos, id = first >> 1 & 3, None
    if qos:
        id, body = struct.unpack(">H", body[:2])[0], body[2:]
    if version == 5:
        body = body[1 + body[0]:]
    if qos and acknowledge:
        raw.send(0x40, struct.pack(">H", id))
    return topic, body.decode(), qos, bool(first & 8), id


@BOTH
def test_what_was_missed_comes_from_the_history(gateway, client, version):
    """1,000 messages, each once and in order, with the subscription that nobody made again."""
    name = f"rooms/missed{version}/t"
    raw = attach(gateway, version, f"missed{version}", present=0)
    subscribe(raw, version, name)
    client.publish(name, "before")
    assert take(raw, version)[1] == "before"
    raw.send(0xc0)  # its PUBACK has been read
    assert raw.receive() == (0xd0, b"")
    leave(raw)
    for i in range(1000):
        client.publish(name, str(i))
    wait_until(lambda: gateway.get("/channels/" + name).json().get("data") == 999)
    raw = attach(gateway, version, f"missed{version}", present=1)
    for i in range(1000):
        topic, payload, qos, dup, _ = take(raw, version)
        assert (topic, payload, qos, dup) == (name, str(i), 1, False)
    client.publish(name, "live")
    assert take(raw, version)[1] == "live"
    leave(raw)


@BOTH
def test_a_clean_start_ends_the_session(gateway, client, version):
    name = f"rooms/clean{version}/t"
    raw = attach(gateway, version, f"clean{version}", present=0)
    subscribe(raw, version, name)
    leave(raw)
    leave(attach(gateway, version, f"clean{version}", clean=True, present=0, properties=b""))
    raw = attach(gateway, version, f"clean{version}", present=0)
    client.publish(name, "x")
    subscribe(raw, version, f"rooms/end{version}/end", 0)
    client.publish(f"rooms/end{version}/end", "end")
    assert take(raw, version)[1] == "end"
    leave(raw)


@BOTH
def test_what_was_not_acknowledged_comes_again_with_its_identifier(gateway, client, version):
    name = f"rooms/again{version}/t"
    raw = attach(gateway, version, f"again{version}", present=0)
    subscribe(raw, version, name)
    for i in range(4):
        client.publish(name, str(i))
    seen = [take(raw, version, acknowledge=False) for _ in range(4)]
    raw.send(0x40, struct.pack(">H", seen[1][4]))
    raw.send(0x40, struct.pack(">H", seen[3][4]))
    raw.send(0xc0)
    assert raw.receive() == (0xd0, b"")
    raw.socket.close()
    client.publish(name, "4")
    raw = attach(gateway, version, f"again{version}", present=1)
    assert [take(raw, version) for _ in range(2)] == [(name, "0", 1, True, seen[0][4]), (name, "2", 1, True, seen[2][4])]
    assert take(raw, version)[1:4] == ("4", 1, False)
    leave(raw)


def test_a_gap_is_told(gateway, client):
    """What the history no longer has: a user property on the next message of the channel, and a line in the log."""
    raw = attach(gateway, 5, "gap", present=0)
    subscribe(raw, 5, "short/gap")
    leave(raw)
    for i in range(20):
        client.publish("short/gap", str(i))
    wait_until(lambda: gateway.get("/channels/short/gap").json().get("data") == 19)
    raw = attach(gateway, 5, "gap", present=1)
    first, body = raw.receive()
    assert first >> 4 == 3 and text("gap") + b"\0" in body and b"history " in body and body.endswith(b"15")
    assert [take(raw, 5)[1] for _ in range(4)] == ["16", "17", "18", "19"]
    assert "a gap in 'short/gap' from" in gateway.text()
    leave(raw)


def test_a_gap_of_a_filter_is_told(gateway, client):
    """The cursor is of another run: who knows which channels of the filter had messages then? The next message says so, once."""
    raw = attach(gateway, 5, "filter", present=0)
    asked = b"\x26" + text("cursor") + text("AAAAAAAAAAA.7")
    raw.send(0x82, struct.pack(">H", 1) + bytes([len(asked)]) + asked + text("deep/novel/+") + b"\1")
    assert raw.receive()[0] == 0x90
    for i in range(2):
        client.publish(f"deep/novel/{i}", "new")
        first, body = raw.receive()
        assert first >> 4 == 3
        assert (b"epoch AAAAAAAAAAA.7 " in body and b" deep/novel/+" in body) == (i == 0), body
        raw.send(0x40, body[2 + len("deep/novel/0"):][:2])
    leave(raw)


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize("politely", [False, True])
def test_a_gap_is_the_session_s_until_it_is_told_for_certain(gateway, client, politely, acknowledged):
    """A connection may end before the next message of the channel, or before the client has that one."""
    name = f"certain{politely}{acknowledged}"
    asked = b"\x26" + text("cursor") + text("AAAAAAAAAAA.7")

    def end(raw):
        if politely:
            leave(raw)
        else:
            raw.socket.close()

    raw = attach(gateway, 5, name, present=0)
    raw.send(0x82, struct.pack(">H", 1) + bytes([len(asked)]) + asked + text(f"rooms/{name}/t") + b"\1")
    assert raw.receive()[0] == 0x90
    end(raw)
    raw = attach(gateway, 5, name, present=1)
    client.publish(f"rooms/{name}/t", "1")
    first, body = raw.receive()
    assert first == 0x32 and b"epoch AAAAAAAAAAA.7 " in body and body[-1:] == b"1"
    if acknowledged:
        raw.send(0x40, body[2 + len(f"rooms/{name}/t"):][:2])
        raw.send(0xc0)
        assert raw.receive()[0] == 0xd0
    end(raw)
    raw = attach(gateway, 5, name, present=1)
    if not acknowledged:
        first, body = raw.receive()
        assert first == 0x3a and body.count(b"epoch AAAAAAAAAAA.7 ") == 1 and body[-1:] == b"1"
        raw.send(0x40, body[2 + len(f"rooms/{name}/t"):][:2])
    client.publish(f"rooms/{name}/t", "2")
    first, body = raw.receive()
    assert first == 0x32 and b"epoch" not in body and body[-1:] == b"2"
    leave(raw)


def test_sessions_expire(gateway):
    """After the time that CONNECT or DISCONNECT gave, and at once without one."""
    raw = attach(gateway, 5, "expire", present=0, properties=b"\x11\0\0\0\1")
    leave(raw)
    wait_until(lambda: not expired_is_present(gateway, "expire"), what="the session to expire")
    raw = attach(gateway, 5, "expire2", present=0)
    raw.send(0xe0, b"\0\5\x11\0\0\0\0")
    assert raw.receive() is None
    attach(gateway, 5, "expire2", present=0, properties=b"")
    raw = attach(gateway, 5, "expire3", present=0, properties=b"")
    raw.send(0xe0, b"\0\5\x11\0\0\0\1")
    first, body = raw.receive()
    assert (first, body[0]) == (0xe0, 0x82)


def expired_is_present(gateway, name):
    threading.Event().wait(1.1)  # looking at it keeps it
    raw = Raw(gateway)
    present = raw.connect(5, 0, name, properties=b"\x11\0\0\0\1")[0]
    raw.socket.close()
    return present


def test_longer_than_the_gateway_keeps_is_told_in_connack(shared):
    gateway = shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { session_expiry: 10s, sessions: 2 }\n"))
    with Raw(gateway) as raw:
        assert b"\x11\0\0\0\x0a" in raw.connect(5, 2, "long", properties=b"\x11\xff\xff\xff\xff")
        leave(raw)
    for name in ("one", "two"):  # the oldest is given up for it
        leave(attach(gateway, 5, name, present=0))
    wait_until(lambda: "mqtt.sessions (2) reached" in gateway.text())
    leave(attach(gateway, 5, "two", present=1))
    leave(attach(gateway, 5, "one", present=1))
    leave(attach(gateway, 5, "long", present=0))


@BOTH
def test_take_over_on_every_worker(gateway, client, version):
    """Again and again, from whichever worker: each time the older one is ended, and its session goes on without loss."""
    name = f"rooms/over{version}/t"
    raw = attach(gateway, version, f"over{version}", present=0)
    subscribe(raw, version, name)
    seen = []
    for i in range(40):
        client.publish(name, str(i))
        newer = attach(gateway, version, f"over{version}", present=1)
        while True:
            answer = raw.receive()
            if answer is None:
                break
            if answer[0] >> 4 == 14:
                assert answer[1][0] == 0x8e
        raw.socket.close()
        raw = newer
    client.publish(name, "end")
    while not seen or seen[-1] != "end":
        seen.append(take(raw, version)[1])
    assert seen == [str(i) for i in range(40)] + ["end"]
    leave(raw)


def test_many_want_one_identifier_at_once(gateway):
    """One has it in the end, and nobody hangs."""
    raws = []

    def connect():
        raw = Raw(gateway)
        raws.append(raw)
        raw.send(0x10, text("MQTT") + b"\5\0\0\0\5" + KEPT + text("herd"))

    threads = [threading.Thread(target=connect) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = []
    for raw in raws:
        raw.socket.settimeout(1)
        with contextlib.suppress(TimeoutError, EOFError):
            while raw.receive() is not None:
                pass
            continue
        winners.append(raw)
    assert len(winners) == 1
    winners[0].socket.settimeout(15)
    winners[0].send(0xc0)
    assert winners[0].receive() == (0xd0, b"")


def test_qos_2_is_once_across_connections(gateway, shared):
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/across"])
    raw = attach(gateway, 5, "across", present=0)
    publish = text("lamps/across") + b"\0\x09\0once"
    raw.send(0x34, publish)
    assert raw.receive() == (0x50, b"\0\x09")
    raw.socket.close()
    raw = attach(gateway, 5, "across", present=1)
    raw.send(0x3c, publish)
    assert raw.receive() == (0x50, b"\0\x09")
    raw.send(0x62, b"\0\x09")
    assert raw.receive() == (0x70, b"\0\x09")
    raw.send(0x32, text("lamps/across") + b"\0\x0a\0end")
    assert raw.receive() == (0x40, b"\0\x0a")
    wait_until(lambda: device.payloads("lamps/across")[-1:] == [b"end"])
    assert device.payloads("lamps/across") == [b"once", b"end"]
    leave(raw)


def will(gateway, name, delay, payload, flags=4):
    raw = Raw(gateway)
    raw.connect(5, flags, name, properties=KEPT, rest=bytes([5, 0x18]) + struct.pack(">I", delay) + text("lamps/later") + text(payload))
    return raw


def test_a_will_waits_and_is_cancelled_by_who_comes_back(gateway, shared):
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/later"])
    will(gateway, "back", 2, "cancelled").socket.close()
    wait_until(lambda: attach(gateway, 5, "back", present=1))
    began = time.monotonic()
    will(gateway, "gone", 1, "waited").socket.close()
    wait_until(lambda: device.payloads("lamps/later") == [b"waited"])
    assert time.monotonic() - began > 0.9
    threading.Event().wait(1.5)  # longer than the first one had to wait
    assert device.payloads("lamps/later") == [b"waited"]


def test_paho_resumes(gateway, client):
    """A stock client, with what its library makes of a session."""
    arguments = {"version": mqtt.MQTTv5, "client_id": "paho", "clean": False,
                 "properties": properties(PacketTypes.CONNECT, SessionExpiryInterval=60)}
    first = Paho(gateway, **arguments).connected()
    assert first.subscribe("rooms/paho/+", options=SubscribeOptions(1)) == [1]
    first.close()
    for i in range(50):
        client.publish("rooms/paho/t", str(i))
    second = Paho(gateway, **arguments)
    try:
        assert second.event("connect")[2]["session present"] == 1
        wait_until(lambda: second.got("rooms/paho/t") == [b"%d" % i for i in range(50)])
    finally:
        second.close()
