"""MQTT clients publish: acknowledgements, reason codes, QoS 2, aliases, wills."""
import struct

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Raw, text

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { path: /mqtt, names: channels }\nlog: { level: debug }\n"))


@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_at_every_level_by_the_route(paho, shared, client, version, qos):
    """Route and gateway decide where it goes and at which QoS; the client's level is between it and the gateway."""
    device = shared.mqtt(shared.main_broker.port, subscribe=["zigbee2mqtt/+/set", f"twice/{version}{qos}"])
    sender = paho(version=version).connected()
    sender.publish(f"devices/lamp{version}{qos}", b'{"state": "ON"}', qos)
    sender.publish(f"twice/{version}{qos}", b"x", qos)
    wait_until(lambda: len(device.messages) == 2)
    assert [(m.topic, m.payload) for m in device.messages] == [(f"zigbee2mqtt/lamp{version}{qos}/set", b'{"state": "ON"}'),
                                                               (f"twice/{version}{qos}", b"x")]


def test_a_publish_is_acknowledged_when_the_broker_has_it(world):
    """While the broker does not answer there is no PUBACK; it comes when the broker goes on."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="mqtt: {}\n"))
    with Raw(gateway) as raw:
        raw.connect(5)
        broker.freeze()
        raw.send(0x32, text("lamps/1") + b"\0\1\0ON")
        raw.send(0xc0)
        assert raw.receive() == (0xd0, b"")
        broker.thaw()
        assert raw.receive() == (0x40, b"\0\1")


def test_reason_codes_of_puback_and_pubrec(gateway):
    """Of the gateway and of the broker (denied/ is refused by its ACL), at both levels, with a sentence."""
    cases = (("lamps/1", b"ON", 0, b""), ("no/such", b"x", 0x90, b"unknown_channel"), ("rooms/a/t", b"x", 0x87, b"forbidden"),
             ("devices/lamp", b"{broken", 0x99, b"not_json"), ("denied/1", b"x", 0x87, b"forbidden"), ("number/a", b"abc", 0x99, b"bad_request"),
             ("deep/" + "/" * 200, b"x", 0x90, b"limits.levels"), ("devices/" + "x" * 65520, b"{}", 0x90, b"longer than MQTT allows"))
    with Raw(gateway) as raw:
        raw.connect(5)
        for i, (topic, payload, code, word) in enumerate(cases, 1):
            for first, answer_first in ((0x32, 0x40), (0x34, 0x50)):
                raw.send(first, text(topic) + struct.pack(">H", i) + b"\0" + payload)
                kind, answer = raw.receive()
                assert (kind, answer[:2]) == (answer_first, struct.pack(">H", i)), topic
                assert (answer[2] if len(answer) > 2 else 0) == code and word in answer, (topic, answer)
            if code == 0:
                raw.send(0x62, struct.pack(">H", i))
                assert raw.receive() == (0x70, struct.pack(">H", i))


def test_no_reason_strings_for_who_wants_none(gateway):
    with Raw(gateway) as raw:
        raw.connect(5, properties=b"\x17\0")
        raw.send(0x32, text("no/such") + b"\0\1\0x")
        assert raw.receive() == (0x40, b"\0\1\x90\0")


def test_an_old_client_is_never_told_that_a_refused_publish_was_published(gateway):
    """MQTT 3.1.1 has no word for no but the end of the connection."""
    for topic in ("no/such", "denied/1"):
        with Raw(gateway) as raw:
            raw.connect(4)
            raw.send(0x32, text(topic) + b"\0\1x")
            assert raw.receive() is None
            assert raw.closed[1].split(":")[0] in ("unknown_channel", "forbidden") and raw.closed[0] == 1008
    with Raw(gateway) as raw:  # at QoS 0 nobody waits for an answer
        raw.connect(4)
        raw.send(0x30, text("no/such") + b"x")
        raw.send(0xc0)
        assert raw.receive() == (0xd0, b"")


def test_qos_2_is_published_once(shared, gateway):
    """The same PUBLISH again, before and after PUBREC, is acknowledged again and not published again."""
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/exactly"])
    publish = text("lamps/exactly") + b"\0\5\0"
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.send(0x34, publish + b"1")
        assert raw.receive() == (0x50, b"\0\5")
        raw.send(0x3c, publish + b"1")
        assert raw.receive() == (0x50, b"\0\5")
        raw.send(0x62, b"\0\5")
        assert raw.receive() == (0x70, b"\0\5")
        raw.send(0x62, b"\0\5")
        assert raw.receive()[1][:3] == b"\0\5\x92"
        raw.send(0x34, publish + b"2")
        assert raw.receive() == (0x50, b"\0\5")
    wait_until(lambda: device.payloads("lamps/exactly") == [b"1", b"2"])


def test_topic_aliases_of_the_client(shared, gateway):
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/alias/#", "lamps/+"])
    with Raw(gateway) as raw:
        assert b"\x22\0\x10" in raw.connect(5)
        for id, topic, alias, payload in ((1, "lamps/alias1", 16, b"a"), (2, "", 16, b"b"), (3, "lamps/alias2", 16, b"c"), (4, "", 16, b"d")):
            raw.send(0x32, text(topic) + struct.pack(">H", id) + b"\3\x23" + struct.pack(">H", alias) + payload)
            assert raw.receive() == (0x40, struct.pack(">H", id))
    wait_until(lambda: device.payloads("lamps/alias1") == [b"a", b"b"] and device.payloads("lamps/alias2") == [b"c", b"d"])


def test_topic_aliases_of_the_gateway(gateway, client):
    """As many channels as the client has room for get one; their later messages have it instead of the name."""
    with Raw(gateway) as raw:
        raw.connect(5, properties=b"\x22\0\2")
        raw.send(0x82, b"\0\1\0" + text("rooms/short/+") + b"\0")
        assert raw.receive()[0] == 0x90
        seen = []
        for name in ("a", "b", "a", "c", "b", "c"):
            client.publish("rooms/short/" + name, name)
            seen.append(raw.receive()[1])
    full = [text("rooms/short/" + name) for name in "abc"]
    assert seen == [full[0] + b"\3\x23\0\1a", full[1] + b"\3\x23\0\2b", b"\0\0\3\x23\0\1a", full[2] + b"\0c", b"\0\0\3\x23\0\2b",
                    full[2] + b"\0c"]


@BOTH
def test_a_burst_of_publishes_waits_and_all_arrive(paho, shared, version):
    """More at once than limits.publishes_per_session: a 5.0 client keeps to the receive maximum, an older one's packets wait."""
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/burst{version}"])
    sender = paho(version=version).connected()
    sender.client.max_inflight_messages_set(0 if version == mqtt.MQTTv311 else 64)
    sender.client.max_queued_messages_set(0)
    infos = [sender.client.publish(f"lamps/burst{version}", str(i), 1 + i % 2) for i in range(500)]
    for info in infos:
        info.wait_for_publish(20)
    wait_until(lambda: len(device.messages) == 500, what="all publishes")
    assert sorted(int(m.payload) for m in device.messages) == list(range(500))


# --- wills, keep-alive, the end -------------------------------------------------------------------------------------

@BOTH
def test_a_will_is_published_when_the_connection_is_lost_and_not_when_it_ends(gateway, shared, version):
    device = shared.mqtt(shared.main_broker.port, subscribe=["lamps/will"])
    number = 5 if version == mqtt.MQTTv5 else 4
    will = (b"\0" if number == 5 else b"") + text("lamps/will")
    with Raw(gateway) as raw:
        raw.connect(number, 2 | 4, "w1", rest=will + text("politely"))
        raw.send(0xe0)
        assert raw.receive() is None
    with Raw(gateway) as raw:
        raw.connect(number, 2 | 4, "w2", rest=will + text("lost"))
    wait_until(lambda: device.payloads("lamps/will") == [b"lost"])
    if number == 5:
        with Raw(gateway) as raw:
            raw.connect(5, 2 | 4, "w3", rest=will + text("wanted"))
            raw.send(0xe0, b"\4\0")
        wait_until(lambda: device.payloads("lamps/will") == [b"lost", b"wanted"])


def test_a_will_to_where_the_client_may_not_publish_is_refused(gateway):
    for version, code in ((4, 5), (5, 0x87)):
        with Raw(gateway) as raw:
            raw.send(0x10, text("MQTT") + bytes([version, 6, 0, 0]) + (b"\0" if version == 5 else b"") + text("w") +
                     (b"\0" if version == 5 else b"") + text("no/such") + text("x"))
            first, answer = raw.receive()
            assert first == 0x20 and answer[1] == code


def test_keep_alive(gateway):
    with Raw(gateway) as raw:
        raw.connect(5, keepalive=1)
        first, answer = raw.receive()
        assert first == 0xe0 and answer[0] == 0x8d
