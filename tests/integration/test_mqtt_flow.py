"""Acknowledgements by the thousand: short frames that come in one segment, sleep between them, and heads that repeat."""
import contextlib
import itertools
import pathlib
import random
import struct
import time

import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Raw, packet, text

pytestmark = pytest.mark.sanitize

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="workers: 1\nmqtt: { receive_maximum: 1000 }\n"))


def masked(payload, key=None, opcode=2):
    key = key or random.randbytes(4)
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def subscribed(gateway):
    """At QoS 1 to a channel of its own, which has no value yet."""
    raw = Raw(gateway)
    raw.channel = f"rooms/flow/{next(NUMBERS)}"
    raw.connect(4)
    raw.send(0x82, b"\0\1" + text(raw.channel) + b"\1")
    assert raw.receive()[0] == 0x90
    return raw


def identifiers(raw, count):
    """Of live messages at QoS 1."""
    found = []
    while len(found) < count:
        first, body = raw.receive()
        assert first & 0xf6 == 0x32
        topic = struct.unpack_from(">H", body)[0]
        found.append(body[2 + topic:4 + topic])
    return found


def publish(client, raw, payloads):
    for payload in payloads:
        client.client.publish(raw.channel, payload, 1)


def end(raw):
    while raw.receive():
        pass
    return raw.closed[0]


def alive(raw):
    raw.send(0xc0)
    assert raw.receive() == (0xd0, b"")


def test_short_frames_of_any_kind_in_one_segment(gateway, client):
    """They are a stream: whole packets, halves of packets, several packets, none, and control frames between them."""
    with subscribed(gateway) as raw:
        publish(client, raw, [str(n) for n in range(4)])
        first, second, third, fourth = identifiers(raw, 4)
        subscribe = packet(0x82, b"\0\2" + text("rooms/flow/next") + b"\0")
        pieces = [subscribe[at:at + 4] for at in range(0, len(subscribe), 4)]
        raw.socket.sendall(b"".join([
            masked(b"\x40\2" + first), masked(b"\x40\2" + second), masked(b"\xc0\0\xc0\0"), masked(b"ping", opcode=9),
            masked(b"\x40\2" + third[:1]), masked(third[1:] + b"\xc0\0"), masked(b""),
            *(masked(piece) for piece in pieces), masked(b"\x40\2" + fourth), masked(b"\xc0\0\x40\2"), masked(fourth)]))
        assert sorted(raw.receive()[0] for _ in range(5)) == [0x90, 0xd0, 0xd0, 0xd0, 0xd0]
        publish(client, raw, ["again"])
        assert len(identifiers(raw, 1)) == 1


def test_short_frames_in_fragments_and_behind_the_end(gateway, client):
    with subscribed(gateway) as raw:
        publish(client, raw, ["a", "b"])
        first, second = identifiers(raw, 2)
        fragment = masked(b"\x40\2" + first[:1])
        raw.socket.sendall(bytes([2]) + fragment[1:] + bytes([0x80]) + masked(first[1:])[1:] + masked(b"\x40\2" + second))
        alive(raw)
    with subscribed(gateway) as raw:
        raw.socket.sendall(masked(b"\xe0\0\xc0\0") + masked(b"\x40\2\0\1") * 50 + masked(b"\x40\2\0\0"))
        assert end(raw) == 1000
    with subscribed(gateway) as raw:
        raw.socket.sendall(masked(b"\x40\2\0\1") * 3 + masked(b"\x40\2\0\0") + masked(b"\xc0\0\xc0\0"))
        assert end(raw) == 1002


def test_short_text_frames_are_refused_all_the_same(gateway):
    with subscribed(gateway) as raw:
        raw.socket.sendall(masked(b"\x40\2\0\1") + masked(b"\x40\2\0\1", opcode=1))
        assert end(raw) == 1003


def test_other_websockets_get_each_frame_by_itself(gateway, shared):
    """What is joined for MQTT is a message of its own on a raw socket."""
    with Raw(gateway, "/channels/lamps/flow", protocol="sluice") as raw, contextlib.closing(shared.mqtt(shared.main_broker.port, subscribe=["lamps/flow"])) as device:
        raw.socket.sendall(b"".join(masked(b"%04d" % number) for number in range(5)))
        wait_until(lambda: len(device.messages) == 5)
        assert [message.payload for message in device.messages] == [b"%04d" % number for number in range(5)]


def worker_sleeps(gateway):
    """How often threads of the gateway have gone to sleep."""
    tasks = pathlib.Path(f"/proc/{gateway.child.pid}/task")
    return sum(int(line.split()[1]) for task in tasks.iterdir() for line in (task / "status").read_text().splitlines()
               if line.startswith("voluntary_ctxt_switches"))


def test_acknowledgements_do_not_wake_the_gateway_one_by_one(gateway, client):
    """Twice a millisecond at most, and with it some for what else goes on."""
    count = 3000
    with subscribed(gateway) as raw:
        for _ in range(2):
            publish(client, raw, [str(n) for n in range(500)])
            found = identifiers(raw, 500)
            raw.socket.sendall(b"".join(masked(b"\x40\2" + id) for id in found))
        alive(raw)
        before, start = worker_sleeps(gateway), time.monotonic()
        for _ in range(count):
            raw.socket.send(masked(b"\x40\2\xff\xff", b"abcd"))
            until = time.monotonic() + 50e-6
            while time.monotonic() < until:
                pass
        alive(raw)
        elapsed_ms = (time.monotonic() - start) * 1000
        assert worker_sleeps(gateway) - before < 2.5 * elapsed_ms + 100


def test_what_is_in_a_hurry_waits_a_moment_at_most(gateway, client):
    """Acknowledgements of one client go on all the time; another one is served as ever."""
    with subscribed(gateway) as busy, subscribed(gateway) as other:
        for number in range(20):
            for _ in range(20):
                busy.socket.send(masked(b"\x40\2\xff\xff"))
            alive(other)
            publish(client, other, [str(number)])
            other.send(0x40, identifiers(other, 1)[0])


@BOTH
@pytest.mark.parametrize("qos", [0, 1])
def test_packets_that_resemble_the_last_one(gateway, client, paho, version, qos):
    """Lengths around each border of the encodings, channels of one length, empty ones, and back again."""
    reader = paho(version=version).connected()
    place = f"deep/like/{version}{qos}"
    reader.subscribe(f"{place}/+", qos)
    expected = {}
    for size in (0, 1, 2, 90, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 125, 126, 127, 128, 129, 130, 2000, 16300, 16383, 16384):
        for name in ("x", "x", "y", "a" * 60, "a" * 60, "b" * 60, "x"):
            payload = bytes(random.choices(b"abcdef", k=size)) or b" "
            expected.setdefault(name, []).append(payload)
            client.publish(f"{place}/{name}", payload, qos)
    wait_until(lambda: len(reader.messages) >= 7 * 27)
    for name, payloads in expected.items():
        assert reader.got(f"{place}/{name}") == payloads
