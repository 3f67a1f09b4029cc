"""Clients of every kind beside one another get the same messages: what one is sent must never be what another is to get."""
import struct

import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import Paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from tlsfiles import ports

pytestmark = pytest.mark.memory

TOPIC, COUNT = "rooms/alike/t", 300


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra="mqtt: { receive_maximum: 20 }\n",
                              listen="127.0.0.1:0\n  - address: 127.0.0.1:0\n    protocol: mqtt"))


def connect_with(**values):
    properties = Properties(PacketTypes.CONNECT)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def subscribe_with(id):
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = id
    return properties


# How it connects, and how it subscribes.
KINDS = {
    "3.1.1": ({"version": mqtt.MQTTv311}, {"qos": 1}),
    "3.1.1 again": ({"version": mqtt.MQTTv311}, {"qos": 1}),
    "3.1.1 at 0": ({"version": mqtt.MQTTv311}, {"qos": 0}),
    "3.1.1 plain": ({"version": mqtt.MQTTv311, "transport": "tcp"}, {"qos": 1}),
    "5": ({}, {"qos": 1}),
    "5 again": ({}, {"qos": 1}),
    "5 plain": ({"transport": "tcp"}, {"qos": 1}),
    "5 at 0": ({}, {"qos": 0}),
    "window of 1": ({"properties": connect_with(ReceiveMaximum=1)}, {"qos": 1}),
    "window of 7": ({"properties": connect_with(ReceiveMaximum=7)}, {"qos": 1}),
    "small packets": ({"properties": connect_with(MaximumPacketSize=60)}, {"qos": 1}),
    "aliases": ({"properties": connect_with(TopicAliasMaximum=3)}, {"qos": 1}),
    "an identifier": ({}, {"options": SubscribeOptions(qos=1), "properties": subscribe_with(7)}),
    "as published": ({}, {"options": SubscribeOptions(qos=1, retainAsPublished=True)}),
    "no local": ({}, {"options": SubscribeOptions(qos=1, noLocal=True)}),
}


class Watched(Paho):
    """Paho leaves out what comes twice: so identifiers are looked at as they come."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ids = []
        handle = self.client._handle_publish

        def watch():
            body = bytes(self.client._in_packet["packet"])
            if self.client._in_packet["command"] & 6:
                at = 2 + struct.unpack(">H", body[:2])[0]
                self.ids.append(struct.unpack(">H", body[at:at + 2])[0])
            return handle()
        self.client._handle_publish = watch


@pytest.mark.parametrize("qos", [0, 1])
def test_all_kinds_at_once(gateway, client, qos):
    plain = ports(gateway)[1]
    clients = {}
    for name, (how, _) in KINDS.items():
        clients[name] = Watched(gateway, port=plain if how.get("transport") == "tcp" else None, **how).connected()
    for name, (_, subscription) in KINDS.items():
        assert clients[name].subscribe(TOPIC, **subscription)[0] < 2
    sent = [f"{number:03}" + "x" * (number % 50) for number in range(COUNT)]
    for number, payload in enumerate(sent):
        client.publish(TOPIC, payload, qos, retain=number % 5 == 4 and qos == 1)
    for name, one in clients.items():
        expected = [p for p in sent if name != "small packets" or len(p) + len(TOPIC) + 2 + 2 * qos + 1 + 2 <= 60]
        wait_until(lambda: len([m for m in one.messages if not m.retain or name == "as published"]) >= len(expected), 30, what=f"the messages of {name}")
        got = [m.payload.decode() for m in one.messages if not m.retain or name == "as published"]
        assert got == expected, name
        at_1 = qos and name not in ("3.1.1 at 0", "5 at 0")
        assert {m.qos for m in one.messages} == {1 if at_1 else 0}, name
        assert {getattr(m.properties, "SubscriptionIdentifier", None) == [7] for m in one.messages if name == "an identifier"} <= {True}
        if name == "as published" and qos:
            assert [m.payload.decode() for m in one.messages if m.retain] == sent[4::5]
        assert len(one.ids) == (len(one.messages) if at_1 else 0) and 0 not in one.ids, name
        window = 1 if name == "window of 1" else 7 if name == "window of 7" else 20
        for at in range(0, len(one.ids) - window, window):
            assert len(set(one.ids[at:at + window])) == window, name # none in use is used again
        one.close()
    client.publish(TOPIC, b"", 1, retain=True)
