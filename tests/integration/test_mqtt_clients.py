"""MQTT for browsers: what stock clients get over WebSocket on the path of `mqtt:`. Paho here; mqtt.js in tests/browser."""
import time

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Raw, properties, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { path: /mqtt, names: channels }\nlog: { level: debug }\n"))


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


@pytest.mark.parametrize("way", ["live", "kept"])
def test_the_lower_qos_counts(paho, client, way):
    """Of what is granted and what the device used (MQTT 5.0 section 3.8.4)."""
    watcher = paho().connected()
    assert watcher.subscribe([(f"rooms/{way}1/t", SubscribeOptions(1)), (f"rooms/{way}0/t", SubscribeOptions(0))]) == [1, 0]
    for qos in (0, 1, 2):
        client.publish(f"rooms/{way}1/t", str(qos), qos)
        client.publish(f"rooms/{way}0/t", str(qos), qos)
    wait_until(lambda: len(watcher.messages) == 6)
    assert [(m.payload, m.qos) for m in watcher.messages if m.topic == f"rooms/{way}1/t"] == [(b"0", 0), (b"1", 1), (b"2", 1)]
    assert [m.qos for m in watcher.messages if m.topic == f"rooms/{way}0/t"] == [0] * 3
    if way == "kept":  # the last value too
        late = paho().connected()
        late.subscribe(f"rooms/{way}1/t", 1)
        wait_until(lambda: [(m.payload, m.qos, m.retain) for m in late.messages] == [(b"2", 1, 1)])


def test_no_local(paho, shared):
    """The broker sends the gateway's publishes back: those of this client do not come back to it, unless another subscription asks for them."""
    page, other = paho().connected(), paho().connected()
    device = paho(transport="tcp", port=shared.main_broker.port).connected()
    for client in (page, other, device):
        client.subscribe("deep/local/#", options=SubscribeOptions(qos=1, noLocal=client is page))
    for qos in (0, 1):
        page.publish("deep/local/t", f"mine{qos}", qos)
    other.publish("deep/local/t", "other's", 1)
    wait_until(lambda: len(other.messages) == 3 and len(device.messages) == 3 and page.messages)
    assert page.got("deep/local/t") == [b"other's"]
    assert [m.properties.json() for m in other.messages] == [{}] * 3
    page.subscribe("deep/+/t", options=SubscribeOptions(qos=0))
    page.publish("deep/local/t", "both", 1)
    wait_until(lambda: page.got("deep/local/t")[-1] == b"both")


def test_no_local_of_a_session_that_was_kept(gateway, shared):
    """The client identifier counts, not the connection. Own publishes that were missed do not come later either."""
    expiry = b"\x11\0\0\0\x3c"
    device = shared.mqtt(shared.main_broker.port)
    with Raw(gateway) as raw:
        raw.connect(5, 2, "local", properties=expiry)
        raw.send(0x82, b"\0\1\0" + text("deep/kept") + b"\5")
        assert raw.receive()[0] == 0x90
        raw.send(0x32, text("deep/kept") + b"\0\7\0mine")
        assert raw.receive() == (0x40, b"\0\7")
    wait_until(lambda: gateway.get("/channels/deep/kept").json().get("data") == "mine")
    with Raw(gateway) as raw:
        answer = raw.connect(5, 0, "local", properties=expiry)
        assert answer[0] == 1
        raw.send(0x32, text("deep/kept") + b"\0\x08\0again")
        assert raw.receive() == (0x40, b"\0\x08")
        device.publish("deep/kept", "theirs")
        assert raw.receive()[1].endswith(b"theirs")


def said_by(message, name):
    return dict(getattr(message.properties, "UserProperty", [])).get(name)


def test_cursor_and_since_replay(paho, client, gateway):
    """User properties of SUBSCRIBE: what came after a cursor, or since a time, each with its cursor; then it goes on."""
    for value in range(4):
        client.publish("rooms/replay/t", str(value))
    wait_until(lambda: gateway.get("/channels/rooms/replay/t").json().get("data") == 3)
    history = gateway.get("/channels/rooms/replay/t/history").json()["messages"]
    watchers = {}
    for name, value in (("cursor", history[1]["cursor"]), ("since", str(history[2]["ts"])), ("since", "10m")):
        watchers[value] = paho().connected()
        watchers[value].subscribe("rooms/replay/t", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=(name, value)))
    client.publish("rooms/replay/t", "4")
    for value, watcher in watchers.items():
        wait_until(lambda: watcher.got("rooms/replay/t")[-1:] == [b"4"])
        first = next(i for i, entry in enumerate(history) if entry["ts"] >= history[2]["ts"]) if value == str(history[2]["ts"]) else \
            0 if value == "10m" else 2
        assert watcher.got("rooms/replay/t") == [b"%d" % i for i in range(first, 5)]
        assert [said_by(m, "cursor") for m in watcher.messages][:-1] == [entry["cursor"] for entry in history[first:]]
        assert [m.retain for m in watcher.messages] == [0] * (5 - first) and not any(said_by(m, "gap") for m in watcher.messages)
    for bad in ("soon", "", "-1", "10 parsecs"):
        assert paho().connected().subscribe("rooms/replay/t", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=("since", bad))) == [0x8f]


def test_since_tells_what_is_gone_after_that_time_only(paho, client, gateway):
    """short/ holds five messages. What was lost before the time is no gap; what may have been lost after it is one."""
    for value in range(8):
        client.publish("short/since", str(value))
    wait_until(lambda: gateway.get("/channels/short/since").json().get("data") == 7)
    asked = time.time()
    wait_until(lambda: time.time() > asked + 0.02)
    now = str(int(time.time() * 1000))
    client.publish("short/since", "8")
    wait_until(lambda: gateway.get("/channels/short/since").json().get("data") == 8)
    for since, expected, gap in ((now, [b"8"], False), ("10m", [b"4", b"5", b"6", b"7", b"8"], True)):
        watcher = paho().connected()
        watcher.subscribe("short/since", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=("since", since)))
        wait_until(lambda: watcher.got("short/since")[-1:] == [b"8"])
        assert watcher.got("short/since") == expected
        assert [said_by(m, "gap") is not None for m in watcher.messages] == [gap] + [False] * (len(expected) - 1)
