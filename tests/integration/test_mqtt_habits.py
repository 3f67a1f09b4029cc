"""Habits of clients in use, and what the specification says of each: everything in one segment, versions that change, wills, filters."""
import shutil
import subprocess

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Paho, Raw, packet, properties, text
from paho.mqtt.packettypes import PacketTypes
from tlsfiles import ports

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: {}\n", listen="127.0.0.1:0\n  - address: 127.0.0.1:0\n    protocol: mqtt"))


def connect(version, flags=2, rest=b"", properties=b"\0"):
    return packet(0x10, text("MQTT") + bytes([version, flags, 0, 0]) + (properties if version == 5 else b"") + text("") + rest)


@pytest.mark.parametrize("version", [4, 5])
def test_a_whole_life_in_one_segment(gateway, shared, version):
    """A client need not wait for CONNACK, and one that says goodbye at once is heard to the end."""
    none = b"\0" if version == 5 else b""
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/life{version}"])
    with Raw(gateway) as raw:
        frames = [connect(version), packet(0x82, b"\0\1" + none + text("rooms/life/+") + b"\1"),
                  packet(0x32, text(f"lamps/life{version}") + b"\0\2" + none + b"ON"), packet(0xc0, b""), packet(0xe0, b"")]
        raw.frame(b"".join(frames))
        seen = []
        while answer := raw.receive():
            seen.append(answer[0])
        assert seen[:2] == [0x20, 0x90] and 0xd0 in seen and raw.closed[0] == 1000
    wait_until(lambda: device.payloads(f"lamps/life{version}") == [b"ON"])


@BOTH
def test_a_value_that_is_cleared(paho, client, gateway, version):
    """An empty retained payload: those who are there hear it, and who comes later gets no value."""
    channel = f"rooms/cleared{version}/t"
    client.publish(channel, "21", retain=True)
    here = paho(version=version).connected()
    wait_until(lambda: gateway.get(f"/channels/{channel}").status_code == 200)
    here.subscribe(channel, 1)
    wait_until(lambda: here.got(channel) == [b"21"])
    client.publish(channel, "", retain=True)
    wait_until(lambda: here.got(channel) == [b"21", b""])
    later = paho(version=version).connected()
    later.subscribe(channel, 1)
    client.publish(channel, "22")
    wait_until(lambda: later.got(channel) == [b"22"])


MALFORMED = {
    "DUP at QoS 0": (5, packet(0x38, text("lamps/1") + b"\0x")),
    "UNSUBSCRIBE without its flags": (5, packet(0xa0, b"\0\1\0" + text("a"))),
    "a reserved option": (5, packet(0x82, b"\0\1\0" + text("a") + b"\x40")),
    "QoS 3 asked for": (5, packet(0x82, b"\0\1\0" + text("a") + b"\3")),
    "QoS 3 asked for in 3.1.1": (4, packet(0x82, b"\0\1" + text("a") + b"\3")),
    "options of 5 in 3.1.1": (4, packet(0x82, b"\0\1" + text("a") + b"\x29")),
    "half a filter": (5, packet(0x82, b"\0\1\0" + text("a") + b"\0" + b"\0\5b")),
    "a filter without options": (5, packet(0x82, b"\0\1\0" + text("a"))),
    "PUBREL without its flags": (5, packet(0x60, b"\0\1")),
    "PUBCOMP with flags": (5, packet(0x71, b"\0\1")),
    "PINGREQ with flags": (5, b"\xc1\0"),
    "DISCONNECT with flags": (5, b"\xe1\0"),
    "DISCONNECT of 3.1.1 with content": (4, packet(0xe0, b"\0")),
    "properties longer than the packet": (5, packet(0x30, text("lamps/1") + b"\x7f\1")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed(gateway, name):
    version, bad = MALFORMED[name]
    with Raw(gateway) as raw:
        raw.frame(connect(version))
        assert raw.receive()[0] == 0x20
        raw.frame(bad)
        answer = raw.receive()
        if version == 5:
            assert answer[0] == 0xe0 and answer[1][0] in (0x81, 0x82), answer
            answer = raw.receive()
        assert answer is None and raw.closed[0] == 1002


CONNECTS = {
    "a QoS for a will that there is not": (5, connect(5, 0x0a)),
    "RETAIN for a will that there is not": (5, connect(5, 0x22)),
    "a will at QoS 3": (5, connect(5, 0x1e, b"\0" + text("lamps/1") + text("x"))),
    "a password without a user in 3.1.1": (4, connect(4, 0x42, text("x"))),
    "bytes behind the end": (5, connect(5, 2, b"x")),
    "a will without a payload": (4, connect(4, 6, text("lamps/1"))),
}


@pytest.mark.parametrize("name", CONNECTS)
def test_connects_that_are_malformed(gateway, name):
    version, bad = CONNECTS[name]
    with Raw(gateway) as raw:
        raw.frame(bad)
        answer = raw.receive()
        if version == 5:
            assert answer[0] == 0x20 and answer[1][1] in (0x81, 0x82), answer
            answer = raw.receive()
        assert answer is None and raw.closed[0] == 1002


def test_a_password_without_a_user_name(gateway):
    """Version 5 allows it (3.1.2.9); without `auth` it says nothing."""
    with Raw(gateway) as raw:
        raw.frame(connect(5, 0x42, text("x")))
        first, body = raw.receive()
        assert first == 0x20 and body[1] == 0


@pytest.mark.parametrize("version", [4, 5])
def test_filters_that_are_none(gateway, version):
    """Each has its code, and the good one among them is granted."""
    bad = ["a/#/b", "a+", "+a", "#a", "a#", "a/b#", ""]
    with Raw(gateway) as raw:
        raw.frame(connect(version))
        assert raw.receive()[0] == 0x20
        raw.send(0x82, b"\0\1" + (b"\0" if version == 5 else b"") + b"".join(text(filter) + b"\0" for filter in [*bad, "rooms/+/t"]))
        first, body = raw.receive()
        assert first == 0x90
        codes = body[-len(bad) - 1:]
        assert codes == bytes([0x8f if version == 5 else 0x80] * len(bad)) + b"\0"


def test_acknowledgements_of_nothing(gateway):
    """Of identifiers that nobody knows; the client is not ended for it (4.3.3)."""
    with Raw(gateway) as raw:
        raw.frame(connect(5))
        assert raw.receive()[0] == 0x20
        for sent, answer in ((0x62, (0x70, b"\0\7\x92")), (0x50, (0x62, b"\0\7\x92")), (0x70, None), (0x40, None)):
            raw.send(sent, b"\0\7")
            if answer:
                first, body = raw.receive()
                assert (first, body[:3]) == answer
        raw.send(0xc0)
        assert raw.receive() == (0xd0, b"")


@pytest.mark.parametrize("versions", [(mqtt.MQTTv311, mqtt.MQTTv5), (mqtt.MQTTv5, mqtt.MQTTv311)], ids=["to 5.0", "to 3.1.1"])
def test_a_kept_session_goes_on_in_the_other_version(gateway, client, versions):
    """As after an update of the page's library."""
    channel, messages = f"rooms/updated{versions[0]}/t", []
    for round_, version in enumerate(versions):
        expiry = properties(PacketTypes.CONNECT, SessionExpiryInterval=60) if version == mqtt.MQTTv5 else None
        page = Paho(gateway, version=version, client_id=f"updated{versions[0]}", clean=False, properties=expiry).connected()
        try:
            flags = page.event("connect")[2]
            assert flags["session present"] == round_
            if not round_:
                page.subscribe(channel, 1)
            else:
                wait_until(lambda: page.got(channel) == [b"0", b"1", b"2"])
                messages = [message.qos for message in page.messages]
        finally:
            page.close()
        if not round_:
            for number in range(3):
                client.publish(channel, str(number))
    assert messages == [1, 1, 1]


def test_names_of_every_kind(paho, client):
    """A byte order mark is no end of anything (1.5.4), and blanks and emoji are letters."""
    names = ["deep/\ufeffmark", "deep/a b/ c ", "deep/\U0001f321/\u00e9", "deep//", "deep/" + "\u00e4" * 1000]
    reader = paho().connected()
    reader.subscribe("deep/#", 1)
    for name in names:
        client.publish(name, name)
    wait_until(lambda: len(reader.messages) == len(names))
    assert [(message.topic, message.payload.decode()) for message in reader.messages] == [(name, name) for name in names]


@pytest.mark.parametrize("version", [4, 5])
def test_the_will_of_a_client_that_is_taken_over(gateway, shared, version):
    """Its connection ends without a DISCONNECT of its own, so the will is published (3.1.2.5)."""
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/over{version}"])
    none = b"\0" if version == 5 else b""
    packet_ = packet(0x10, text("MQTT") + bytes([version, 6, 0, 0]) + none + text(f"over{version}") + none + text(f"lamps/over{version}") + text("gone"))
    with Raw(gateway) as first, Raw(gateway) as second:
        first.frame(packet_)
        assert first.receive()[0] == 0x20
        second.frame(packet_)
        assert second.receive()[0] == 0x20
        wait_until(lambda: device.payloads(f"lamps/over{version}") == [b"gone"])
        second.send(0xe0)
        assert second.receive() is None
    assert device.payloads(f"lamps/over{version}") == [b"gone"]


@pytest.mark.skipif(not shutil.which("mosquitto_rr"), reason="mosquitto_rr is not installed")
def test_mosquitto_rr(gateway, paho):
    """A request over TCP, answered by a client over WebSocket, by response topic and correlation data."""
    responder = paho().connected()

    def answer(_client, _userdata, message):
        back = properties(PacketTypes.PUBLISH, CorrelationData=message.properties.CorrelationData)
        responder.client.publish(message.properties.ResponseTopic, b"re: " + message.payload, 1, properties=back)

    responder.client.on_message = answer
    responder.subscribe("lamps/ask", 1)
    done = subprocess.run(["mosquitto_rr", "-V", "5", "-h", "127.0.0.1", "-p", str(ports(gateway)[1]), "-t", "lamps/ask", "-e", "lamps/answer", "-m", "status?",
                           "-q", "1", "-W", "20", "-D", "publish", "correlation-data", "7", "-v"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.stdout.strip() == "lamps/answer re: status?", done


@pytest.mark.parametrize("version", [4, 5])
def test_a_thousand_filters_in_one_packet(gateway, version):
    """Within the limits all are granted; beyond them each has its code, and the client goes on."""
    filters = [f"rooms/many{number}/t" for number in range(3000)]
    with Raw(gateway) as raw:
        raw.frame(connect(version))
        assert raw.receive()[0] == 0x20
        body = b"\0\1" + (b"\0" if version == 5 else b"") + b"".join(text(filter) + b"\0" for filter in filters)
        raw.send(0x82, body)
        first, body = raw.receive()
        codes = body[2:] if version == 4 else body[-len(filters):]
        assert first == 0x90 and len(codes) == len(filters)
        granted = codes.count(0)
        assert granted and codes == bytes(granted) + bytes([0x97 if version == 5 else 0x80]) * (len(filters) - granted)
        raw.send(0xc0)
        assert raw.receive() == (0xd0, b"")
