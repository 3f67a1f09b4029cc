"""MQTT for browsers: stock clients over WebSocket on the path of `mqtt:` (issue 17). Paho here; mqtt.js in tests/browser."""
import contextlib
import socket
import struct
import subprocess

import paho.mqtt.client as mqtt
import pytest
from conftest import ROUTES, yaml
from harness import wait_until
from locked import Doors
from mqttclients import Paho, Raw, packet, properties, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions
from tlsfiles import certificate, ports, with_listeners

pytestmark = pytest.mark.sanitize

BOTH = pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5.0"])


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { path: /mqtt, names: channels }\nlog: { level: debug }\n"))


@pytest.fixture
def paho(gateway):
    """Makes clients; all are closed in the end."""
    with contextlib.ExitStack() as stack:
        def make(where=gateway, **kwargs):
            client = Paho(where, **kwargs)
            stack.callback(client.close)
            return client
        yield make


# --- subscribing ----------------------------------------------------------------------------------------------------

@BOTH
def test_last_values_are_retained_messages_and_live_ones_are_not(gateway, paho, client, version):
    name = f"rooms/paint{version}"
    client.publish(name + "/t", "21", retain=True)
    client.publish(name + "/h", "50")  # not retained by the broker: the gateway has it all the same
    wait_until(lambda: all(gateway.get(f"/channels/{name}/{last}").ok for last in "th"))
    watcher = paho(version=version).connected()
    wait_until(lambda: watcher.subscribe(name + "/+", 0) == [0])
    wait_until(lambda: len(watcher.messages) >= 2)
    assert {(m.topic, m.payload, m.retain, m.qos) for m in watcher.messages} == {(name + "/t", b"21", 1, 0), (name + "/h", b"50", 1, 0)}
    client.publish(name + "/t", "22", retain=True)
    wait_until(lambda: watcher.got(name + "/t") == [b"21", b"22"])
    assert watcher.messages[-1].retain == 0


@BOTH
def test_wildcards_and_raw_payloads(paho, client, version):
    kind, lamp = f"raw{version}", f"lamp{version}"
    watcher = paho(version=version).connected()
    wanted = [(f"devices/{lamp}/#", 0), (f"rooms/+/{kind}", 0)]
    assert watcher.subscribe(wanted if version != mqtt.MQTTv5 else [(name, SubscribeOptions(qos)) for name, qos in wanted]) == [0, 0]
    client.publish(f"zigbee2mqtt/{lamp}", b'{ "state":\n"ON" }')
    client.publish(f"rooms/a/{kind}", b"\x00\xff binary")
    client.publish("rooms/a/other", b"x")
    client.publish(f"rooms/b/{kind}", b"end")
    wait_until(lambda: watcher.got(f"rooms/b/{kind}"))
    assert watcher.got(f"devices/{lamp}") == [b'{ "state":\n"ON" }'] and watcher.got(f"rooms/a/{kind}") == [b"\x00\xff binary"]
    assert len(watcher.messages) == 3


@BOTH
def test_qos_1_is_granted_and_acknowledged_within_a_window(paho, client, version):
    """More messages than the window holds: all come, once and in order, at QoS 1; 2 is granted as 1."""
    arguments = {"properties": properties(PacketTypes.CONNECT, ReceiveMaximum=3)} if version == mqtt.MQTTv5 else {}
    watcher = paho(version=version, **arguments).connected()
    assert watcher.subscribe(f"rooms/window{version}/t", 2) == [1]
    for i in range(300):
        client.client.publish(f"rooms/window{version}/t", str(i), 1)
    wait_until(lambda: len(watcher.messages) == 300, what="all messages")
    assert [m.payload for m in watcher.messages] == [b"%d" % i for i in range(300)] and {m.qos for m in watcher.messages} == {1}


def test_overlapping_subscriptions_bring_one_copy_with_both_identifiers(paho, client):
    watcher = paho().connected()
    for name, id in (("rooms/ids/+", 7), ("rooms/ids/t", 300)):
        assert watcher.subscribe(name, options=SubscribeOptions(1 if id == 7 else 0),
                                 properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=id)) == [1 if id == 7 else 0]
    client.publish("rooms/ids/t", "1")
    client.publish("rooms/ids/h", "2")
    wait_until(lambda: watcher.got("rooms/ids/h"))
    by_topic = {m.topic: m for m in watcher.messages}
    assert len(watcher.messages) == 2
    assert sorted(by_topic["rooms/ids/t"].properties.SubscriptionIdentifier) == [7, 300] and by_topic["rooms/ids/t"].qos == 1
    assert by_topic["rooms/ids/h"].properties.SubscriptionIdentifier == [7]


def test_retain_handling(paho, client, gateway):
    client.publish("rooms/handling/t", "old")
    wait_until(lambda: gateway.get("/channels/rooms/handling/t").status_code == 200)
    watcher = paho().connected()

    def subscribe(handling):
        assert watcher.subscribe("rooms/handling/+", options=SubscribeOptions(0, retainHandling=handling)) == [0]
        count = len(watcher.got("rooms/handling/end"))
        client.publish("rooms/handling/end", "x")
        wait_until(lambda: len(watcher.got("rooms/handling/end")) > count)

    subscribe(2)
    assert not watcher.got("rooms/handling/t")
    subscribe(1)  # it is there already
    assert not watcher.got("rooms/handling/t")
    watcher.unsubscribe("rooms/handling/+")
    subscribe(1)  # it is new
    wait_until(lambda: watcher.got("rooms/handling/t") == [b"old"])
    subscribe(0)
    wait_until(lambda: watcher.got("rooms/handling/t") == [b"old", b"old"])
    assert {m.retain for m in watcher.messages if m.topic == "rooms/handling/t"} == {1}


def test_codes_of_suback(gateway):
    """Each filter has its own; a shared subscription has one for it, and so has what no route leads to."""
    filters = (("rooms/+/t", 0), ("rooms/a#", 0x8f), ("", 0x8f), ("no/such/channel", 0x8f), ("$share/group/rooms/#", 0x9e), ("rooms/#", 1))
    body = b"".join(text(name) + bytes([1 if code == 1 else 0]) for name, code in filters)
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.send(0x82, b"\0\7\0" + body)
        kind, answer = raw.receive()
        assert kind == 0x90 and answer[:2] == b"\0\7" and list(answer[-len(filters):]) == [code for _, code in filters]
        assert b"bad_request: " in answer
    with Raw(gateway) as raw:
        raw.connect(4)
        raw.send(0x82, b"\0\7" + body)
        assert raw.receive() == (0x90, b"\0\7" + bytes(code if code < 2 else 0x80 for _, code in filters))


@BOTH
def test_unsubscribe(paho, client, version):
    watcher = paho(version=version).connected()
    watcher.subscribe(f"rooms/un{version}/t", 1)
    client.publish(f"rooms/un{version}/t", "1")
    wait_until(lambda: watcher.got(f"rooms/un{version}/t") == [b"1"])
    watcher.unsubscribe(f"rooms/un{version}/t")
    watcher.subscribe(f"rooms/un{version}/end", 0)
    client.publish(f"rooms/un{version}/t", "2")
    client.publish(f"rooms/un{version}/end", "3")
    wait_until(lambda: watcher.got(f"rooms/un{version}/end"))
    assert watcher.got(f"rooms/un{version}/t") == [b"1"]


# --- publishing -----------------------------------------------------------------------------------------------------

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
             ("deep/" + "/" * 200, b"x", 0x90, b"limits.levels"))
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
            assert raw.closed[1].split(":")[0] in ("unknown_channel", "forbidden")
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


# --- who is let in --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, auth="  cookie: token\n", jwt_extra="    leeway: 0s\n",
                                             extra="mqtt: {}\nweb: { origins: [\"http://page.example\"] }\n"))
    return doors


@BOTH
def test_token_key_or_ticket_is_the_password(paho, doors, version):
    gateway = doors.gateway
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer")).json()["ticket"]
    for password in (doors.token("viewer"), doors.key, ticket):
        assert paho(where=gateway, version=version, user="whoever", password=password).connected().subscribe("rooms/#", 0) == [0]
    late = paho(where=gateway, version=version, user="whoever", password=ticket)  # it was good once
    assert late.event("connect")[1] == (0x86 if version == mqtt.MQTTv5 else 4)


@BOTH
def test_handshakes_bring_credentials(paho, doors, version):
    gateway = doors.gateway
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer")).json()["ticket"]
    for where in ({"headers": doors.bearer("viewer")}, {"headers": {"Cookie": "token=" + doors.token("viewer")}}, {"path": "/mqtt?ticket=" + ticket}):
        assert paho(where=gateway, version=version, **where).connected().subscribe("rooms/#", 0) == [0]


@BOTH
def test_refusals(paho, doors, version):
    """Nobody, a wrong password, an expired one: with the code that there is for it."""
    five = version == mqtt.MQTTv5
    for password, code in ((None, 0x87 if five else 5), ("nonsense", 0x86 if five else 4), (doors.token("viewer", lifetime=-5), 0x86 if five else 4),
                           ("x" * 43, 0x86 if five else 4)):
        stranger = paho(where=doors.gateway, version=version, user="u", password=password)
        assert stranger.event("connect")[1] == code
    stranger = paho(where=doors.gateway, version=version, headers={"Cookie": "token=" + doors.token("viewer", lifetime=-5)})
    assert stranger.event("connect")[1] == (0x86 if five else 4)


@BOTH
def test_roles_decide(paho, doors, version, client):
    """Subscribing, publishing, fields."""
    viewer = paho(where=doors.gateway, version=version, user="u", password=doors.token("viewer")).connected()
    assert viewer.subscribe("rooms/#", 1) == [1]
    assert viewer.subscribe("secret/x", 0) == [0x87 if version == mqtt.MQTTv5 else 0x80]
    assert viewer.subscribe("#", 0) == [0x87 if version == mqtt.MQTTv5 else 0x80]
    some = paho(where=doors.gateway, version=version, user="u", password=doors.token("some")).connected()
    some.subscribe("rooms/fields/+", 0)
    client.publish("rooms/fields/t", b'{"t": 1, "secret": 2}')
    wait_until(lambda: some.messages)
    assert some.messages[0].payload == b'{"t":1}'
    with Raw(doors.gateway) as raw:
        raw.connect(5, 0xc2, rest=text("u") + text(doors.token("viewer")))
        raw.send(0x32, text("lamps/1") + b"\0\1\0ON")
        assert raw.receive()[1][:3] == b"\0\1\x87"


def test_the_end_of_a_token_ends_the_connection(doors):
    with Raw(doors.gateway) as raw:
        raw.connect(5, 0xc2, rest=text("u") + text(doors.token("viewer", lifetime=2)))
        first, answer = raw.receive()
        assert first == 0xe0 and answer[0] == 0xa0 and b"expired" in answer


def test_two_identities_with_one_client_id_do_not_meet(doors):
    """And two of one identity do: the newer one has it."""
    with Raw(doors.gateway) as ann, Raw(doors.gateway) as bob, Raw(doors.gateway) as again:
        ann.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="ann")))
        bob.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="bob")))
        for raw in (ann, bob):
            raw.send(0xc0)
            assert raw.receive() == (0xd0, b"")
        again.connect(5, 0xc2, "tab", rest=text("u") + text(doors.token("viewer", sub="ann")))
        first, answer = ann.receive()
        assert first == 0xe0 and answer[0] == 0x8e and ann.receive() is None
        for raw in (bob, again):
            raw.send(0xc0)
            assert raw.receive() == (0xd0, b"")


def test_no_page_of_another_origin(doors):
    with pytest.raises(AssertionError):
        Raw(doors.gateway, headers="Origin: http://evil.example\r\n")
    Raw(doors.gateway, headers="Origin: http://page.example\r\n").socket.close()


# --- bounds and rubbish ---------------------------------------------------------------------------------------------

RUBBISH = {
    "no CONNECT first": (b"\xc0\0", None),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", None),
    "type 0": (b"\0\0", None),
    "a length without an end": (b"\x10\xff\xff\xff\xff\xff", None),
    "a version that there is not": (packet(0x10, text("MQTT") + b"\x09\2\0\0\0\0\0"), (0x20, 0x84)),
    "a CONNECT that is cut": (packet(0x10, text("MQTT") + b"\5\2\0\0\0\0\5a"), (0x20, 0x81)),
    "an authentication method": (packet(0x10, text("MQTT") + b"\5\2\0\0\4\x15\0\1m" + text("a")), (0x20, 0x8c)),
}
CONNECTED = {
    "CONNECT again": (packet(0x10, text("MQTT") + b"\5\2\0\0\0\0\0"), 0x82),
    "CONNACK": (packet(0x20, b"\0\0\0"), 0x82),
    "AUTH": (packet(0xf0, b""), 0x82),
    "SUBSCRIBE without its flags": (packet(0x80, b"\0\1\0" + text("a") + b"\0"), 0x81),
    "no filter": (packet(0x82, b"\0\1\0"), 0x82),
    "PUBLISH of QoS 3": (packet(0x36, text("lamps/1") + b"\0\1\0"), 0x81),
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
        assert raw.closed[0] in (1002, 1008)


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


def handshake(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), 15) as raw:
        raw.sendall(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        return raw.recv(4096)


def test_subprotocols(gateway):
    for offered, chosen in (("mqtt", b"mqtt"), ("mqttv3.1", b"mqttv3.1"), ("other, mqttv3.1", b"mqttv3.1")):
        with Raw(gateway, protocol=offered) as raw:
            assert b"Sec-WebSocket-Protocol: " + chosen + b"\r\n" in raw.head + b"\r\n"
    with Raw(gateway, protocol="mqttv3.1") as raw:  # MQTT 3.1, as old clients speak it
        raw.send(0x10, text("MQIsdp") + b"\3\2\0\0" + text("old"))
        assert raw.receive() == (0x20, b"\0\0")


# --- without WebSocket ----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def plain(shared):
    """A gateway with one port for the web, one for MQTT and one for MQTT over TLS."""
    cert, key = certificate(shared.directory, "mqtt")
    listeners = (f"  - {{ address: 127.0.0.1:0, protocol: mqtt }}\n"
                 f"  - {{ address: 127.0.0.1:0, protocol: mqtt, tls: {{ cert_file: {cert}, key_file: {key} }} }}\n")
    gateway = shared.sluice(with_listeners(yaml(shared.main_broker.port), listeners))
    _, gateway.mqtt, gateway.mqtts = ports(gateway)
    gateway.ca = cert
    return gateway


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_sub_and_pub(plain, client, shared, version, tls):
    where = ["-h", "127.0.0.1", "-V", version] + (["-p", str(plain.mqtts), "--cafile", str(plain.ca)] if tls else ["-p", str(plain.mqtt)])
    name = f"rooms/mosquitto{version}{tls}/t"
    client.publish(name, "last")
    wait_until(lambda: plain.get("/channels/" + name).status_code == 200)
    got = subprocess.run(["mosquitto_sub", *where, "-q", "1", "-t", f"rooms/mosquitto{version}{tls}/#", "-C", "1", "-F", "%t %r %p"], capture_output=True,
                         text=True, timeout=20)
    assert got.stdout == name + " 1 last\n", got
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/m{version}{tls}"])
    for qos, payload in (("1", "ON"), ("2", "a\nb")):
        subprocess.run(["mosquitto_pub", *where, "-q", qos, "-t", f"lamps/m{version}{tls}", "-l"], input=payload + "\n", text=True, check=True,
                       timeout=20)
    wait_until(lambda: device.payloads(f"lamps/m{version}{tls}") == [b"ON", b"a", b"b"])


@BOTH
def test_paho_over_tcp(plain, client, version):
    watcher = Paho(plain, version=version, transport="tcp", port=plain.mqtt).connected()
    try:
        assert watcher.subscribe(f"rooms/tcp{version}/#", 0) == [0]
        for i in range(200):
            client.publish(f"rooms/tcp{version}/t", str(i))
        wait_until(lambda: watcher.got(f"rooms/tcp{version}/t") == [b"%d" % i for i in range(200)])
        watcher.publish("lamps/tcp", "x", 2)
    finally:
        watcher.close()


def test_rubbish_over_tcp(plain):
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05hello", b"\0" * 1000, bytes(range(256)) * 300):
        with socket.create_connection(("127.0.0.1", plain.mqtt), 15) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(data)
                while raw.recv(4096):
                    pass
    assert plain.get("/healthz").status_code == 200
