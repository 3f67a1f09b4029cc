"""Confirmed commands for stock clients of Socket.IO and MQTT, and the sender's identity at the broker."""
import contextlib
import struct
import uuid

import paho.mqtt.client as mqtt
import pytest
import requests
import socketio
from conftest import yaml
from harness import Mqtt, wait_until
from mqttclients import Paho, Raw, properties, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", identify: true, confirm: { field: /state, within: 2s } }
  - topic: shellies/{id}/relay/0
    publish: { topic: "shellies/{id}/relay/0/command", qos: 0, confirm: { within: 5s } }
  - topic: plain/{id}
    publish: {}
"""
EXTRA = """
mqtt: true
socketio: true
auth: { anonymous: all, api_keys: [{ name: anna, hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", roles: all }] }
roles: { all: { subscribe: "#", publish: "#" } }
"""


def last(gateway, channel):
    return gateway.get("/channels/" + channel).json()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_socketio(hall, transport):
    """One acknowledgement: the last receipt."""
    gateway, devices = hall
    client = socketio.Client()
    client.connect(gateway.http, transports=[transport])
    try:
        def publish(channel, data, **more):
            return client.call("publish", {"channel": channel, "data": data, **more}, timeout=10)
        name = transport
        answer = publish(f"lamps/{name}", {"state": "ON"}, confirm=True)
        assert answer == {"status": "confirmed", "cursor": last(gateway, f"lamps/{name}")["cursor"]}
        answer = publish(f"lamps/wrong-{name}", {"state": "ON"}, confirm=True)
        assert answer["status"] == "timeout" and answer["data"]["state"] == "OFF"
        assert publish(f"shellies/{name}/relay/0", "on", confirm=True)["status"] == "confirmed"
        assert publish(f"lamps/{name}", {"state": "OFF"}, confirm=False) == {"status": "published"}
        assert publish("plain/1", 1, confirm=True)["code"] == "unsupported"
        assert publish("plain/1", 1, confirm="yes")["code"] == "bad_request"
        key = str(uuid.uuid4())
        assert len({str(publish(f"lamps/once-{name}", {"state": "ON"}, confirm=True, idempotency_key=key)) for _ in range(3)}) == 1
        assert sum(topic == f"z2m/once-{name}/set" for topic, _ in devices.commands) == 1
        assert publish("plain/1", 1, idempotency_key=7)["code"] == "bad_request"
        for wish in ({"confirm": True}, {"idempotency_key": key}):  # not passed over in silence
            answer = client.call("request", {"channel": "plain/1", "data": 1, **wish}, timeout=10)
            assert (answer["code"], answer["message"]) == ("bad_request", "confirm and idempotency keys are for publishes, not for requests")
    finally:
        client.disconnect()


def user(**pairs):
    return b"".join(b"\x26" + text(name.replace("_", "-")) + text(value) for name, value in pairs.items())


def publish(raw, channel, payload, block, qos=1, id=1):
    raw.send(0x30 | qos << 1, text(channel) + struct.pack(">H", id) + bytes([len(block)]) + block + payload)


def receipt(raw, kind=0x40):
    """The code, the user properties and the reason of a PUBACK or PUBREC."""
    first, body = raw.receive()
    assert first == kind, (first, body)
    got = Properties(PacketTypes.PUBACK)
    if len(body) > 3:
        got.unpack(body[3:])
    said = got.json()
    return body[2] if len(body) > 2 else 0, dict(map(tuple, said.get("UserProperty", []))), said.get("ReasonString", "")


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_5(hall, qos):
    """PUBACK or PUBREC comes with the outcome."""
    gateway, devices = hall
    ask, kind = user(sluice_confirm="true"), 0x40 if qos == 1 else 0x50
    with Raw(gateway) as raw:
        raw.connect()
        publish(raw, f"lamps/late-m{qos}", b'{"state":"ON"}', ask, qos)
        code, said, _ = receipt(raw, kind)
        assert (code, said) == (0, {"confirmed": last(gateway, f"lamps/late-m{qos}")["cursor"]})
        publish(raw, f"lamps/wrong-m{qos}", b'{"state":"ON"}', ask, qos, id=2)
        code, said, _ = receipt(raw, kind)
        assert (code, said) == (0, {"timeout": last(gateway, f"lamps/wrong-m{qos}")["cursor"]})
        publish(raw, f"shellies/m{qos}/relay/0", b"on", ask, qos, id=3)
        assert "confirmed" in receipt(raw, kind)[1]
        publish(raw, "plain/1", b"x", ask, qos, id=4)
        code, said, reason = receipt(raw, kind)
        assert (code, said) == (0x83, {}) and reason.startswith("unsupported: ")
        publish(raw, "plain/1", b"x", user(confirm="true"), qos, id=5)  # means nothing to the gateway
        assert receipt(raw, kind)[:2] == (0, {})
        key = ask + user(sluice_idempotency_key=str(uuid.uuid4()))
        ends = set()
        for id in range(6, 9):
            publish(raw, f"lamps/once-m{qos}", b'{"state":"ON"}', key, qos, id)
            ends.add(str(receipt(raw, kind)))
        assert len(ends) == 1 and "confirmed" in ends.pop()
        assert sum(topic == f"z2m/once-m{qos}/set" for topic, _ in devices.commands) == 1


def test_mqtt_3_can_not_ask_and_sees_no_change(hall):
    client = Paho(hall[0], mqtt.MQTTv311).connected()
    with contextlib.closing(client):
        client.publish("lamps/never-old", b'{"state":"ON"}', 1)


def watched(port):
    return Mqtt(port, subscribe=["z2m/+/set", "plain/#"], protocol=mqtt.MQTTv5)


def said(message):
    return getattr(message.properties, "UserProperty", [])


def test_the_device_hears_who_sent_it(hall):
    """The name of the key or the subject of the token, over every transport; nobody can pass for another."""
    gateway, _ = hall
    device = watched(gateway.broker.port)
    with contextlib.closing(device):
        def post(channel, **headers):
            assert requests.post(f"{gateway.http}/channels/{channel}", data="{}", timeout=10, headers=headers).ok
        post("lamps/never-a", Authorization="Bearer test")
        post("lamps/never-b")
        post("plain/1", Authorization="Bearer test")
        client = Paho(gateway, user="any", password="test").connected()
        with contextlib.closing(client):
            client.publish("lamps/never-c", b"{}", 1, properties=properties(PacketTypes.PUBLISH, UserProperty=[("sub", "boss"), ("unit", "K")]))
        with Raw(gateway) as raw:
            raw.connect()
            publish(raw, "lamps/never-d", b"{}", user(sluice_confirm="false", unit="K"))
            assert receipt(raw)[0] == 0
        wait_until(lambda: len(device.messages) >= 5)
        got = {message.topic: said(message) for message in device.messages}
        assert got == {"z2m/never-a/set": [("sub", "anna")], "z2m/never-b/set": [("sub", "anonymous")], "plain/1": [],
                       "z2m/never-c/set": [("unit", "K"), ("sub", "anna")], "z2m/never-d/set": [("unit", "K"), ("sub", "anonymous")]}


def test_a_broker_that_speaks_3_1_1_gets_the_command_alone(world, hall):
    gateway = world.sluice(yaml(hall[0].broker.port, ROUTES, broker="  protocol: 3.1.1\n", extra=EXTRA))
    device = watched(hall[0].broker.port)
    with contextlib.closing(device):
        assert requests.post(f"{gateway.http}/channels/lamps/old-1?confirm=1", data='{"state":"ON"}', timeout=10).json()["status"] == "confirmed"
        wait_until(lambda: device.messages)
        assert said(device.messages[0]) == []
