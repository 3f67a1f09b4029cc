"""Routes that except topics, and captures of several levels before a fixed end, with a real broker, in both directions."""
import asyncio
import json
import signal
import subprocess
import urllib.parse

import pytest
import requests
import websockets
from conftest import yaml
from harness import BINARY, wait_until

pytestmark = pytest.mark.memory

# Zigbee2MQTT with device names that have slashes (Koenkk/zigbee2mqtt#470).
ROUTES = """
  - topic: zigbee2mqtt/{device...}/availability
    channel: online/{device...}
  - topic: zigbee2mqtt/{device...}
    except: ["zigbee2mqtt/{any...}/availability", "zigbee2mqtt/{any...}/set", "zigbee2mqtt/{any...}/get", zigbee2mqtt/bridge/#]
    channel: devices/{device...}
    codec: json
    publish: { topic: "zigbee2mqtt/{device...}/set" }
  - topic: "+/{node}/{sensor...}/state"
    except: zigbee2mqtt/#
    channel: nodes/{node}/{sensor...}
  - topic: plain/#
    except: plain/secret/#
    publish: {}
  - topic: sentinel
"""


@pytest.fixture(scope="module")
def home(shared):
    shared.home = shared.sluice(yaml(shared.main_broker.port, ROUTES))
    shared.watcher = shared.mqtt(shared.main_broker.port, subscribe=["#"])
    return shared


def names(gateway):
    return {channel["channel"] for channel in gateway.get("/channels").json()["channels"]}


def test_each_topic_makes_its_channel_and_no_other(home):
    sent = {
        "zigbee2mqtt/attic/lamp left": "devices/attic/lamp left",
        "zigbee2mqtt/kitchen/ceiling/3": "devices/kitchen/ceiling/3",
        "zigbee2mqtt/plug": "devices/plug",
        "zigbee2mqtt/set": "devices/set",  # a device of that name: one level is no end behind a device
        "zigbee2mqtt/attic/lamp left/availability": "online/attic/lamp left",
        "zigbee2mqtt/plug/availability": "online/plug",
        "zigbee2mqtt/attic/lamp left/set": None,
        "zigbee2mqtt/plug/set": None,
        "zigbee2mqtt/plug/get": None,
        "zigbee2mqtt/bridge": None,
        "zigbee2mqtt/bridge/state": None,
        "zigbee2mqtt/bridge/request/permit_join": None,
        "zigbee2mqtt/bridge/availability": "online/bridge",
        "esphome/n1/sensor/temperature/state": "nodes/n1/sensor/temperature",
        "esphome/n1/state": None,
        "zigbee2mqtt/n1/x/state": "devices/n1/x/state",
        "plain": "plain",
        "plain/a/b": "plain/a/b",
        "plain/secret": None,
        "plain/secret/a": None,
        "plain/secrets": "plain/secrets",
    }
    for topic in sent:
        home.client.publish(topic, '{"n":1}')
    home.client.publish("sentinel", "1")
    wait_until(lambda: home.home.get("/channels/sentinel").status_code == 200, what="the last message")
    assert names(home.home) == {channel for channel in sent.values() if channel} | {"sentinel"}


@pytest.mark.parametrize("channel, topic", [
    ("devices/attic/lamp left", "zigbee2mqtt/attic/lamp left/set"),
    ("devices/plug", "zigbee2mqtt/plug/set"),
    ("devices/set", "zigbee2mqtt/set/set"),
    ("plain/a/b", "plain/a/b"),
    ("devices/plug/set", None),
    ("devices/attic/lamp left/get", None),
    ("devices/plug/availability", None),
    ("devices/bridge", None),
    ("devices/bridge/request/permit_join", None),
    ("plain/secret", None),
    ("plain/secret/a", None),
])
def test_publishing(home, channel, topic):
    before = len(home.watcher.messages)
    answer = home.home.post("/channels/" + urllib.parse.quote(channel), data=b'{"state":"ON"}')
    if topic:
        assert answer.status_code == 200, answer.text
        wait_until(lambda: topic in [message.topic for message in home.watcher.messages[before:]])
        return
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_channel" and "excepts the topic" in answer.json()["message"]
    said = subprocess.run([BINARY, "explain", "-c", home.home.config, "--channel", channel], capture_output=True, text=True).stdout
    assert "excepted by '" in said and "no route leads to this channel" in said
    home.client.publish("sentinel", str(before))
    wait_until(lambda: str(before).encode() in home.watcher.payloads("sentinel"))
    assert not any(m.payload == b'{"state":"ON"}' for m in home.watcher.messages[before:] if not m.topic.endswith("/set/set"))


def test_websocket_says_why(home):
    async def ask(*frames):
        async with websockets.connect(home.home.ws + "/ws") as ws:
            assert json.loads(await ws.recv())["type"] == "welcome"
            for frame in frames:
                await ws.send(json.dumps(frame))
                yield json.loads(await ws.recv())

    async def answers():
        return [answer async for answer in ask({"type": "publish", "id": 1, "channel": "devices/bridge/request/restart", "data": {}},
                                               {"type": "subscribe", "id": 2, "channel": "plain/secret/#"})]
    published, subscribed = asyncio.run(asyncio.wait_for(answers(), 15))
    assert (published["type"], published["code"]) == ("error", "unknown_channel") and "excepts the topic" in published["message"]
    assert (subscribed["type"], subscribed["code"]) == ("error", "unknown_channel")


def test_explain_of_topics(home):
    def explain(topic):
        return subprocess.run([BINARY, "explain", "-c", home.home.config, "--topic", topic], capture_output=True, text=True).stdout
    said = explain("zigbee2mqtt/attic/lamp/set")
    assert "because:  excepted by 'zigbee2mqtt/{any...}/set' (except[1])" in said
    assert "it has no end such as '/availability' behind one or more levels" in said
    assert "no route matches: the broker sends this topic for the subscription 'zigbee2mqtt/#', and it is dropped" in explain("zigbee2mqtt/bridge/x")
    said = explain("zigbee2mqtt/attic/lamp/availability")
    assert "capture:  {device} = 'attic/lamp'" in said and "channel:  online/attic/lamp" in said
    [route] = requests.get(f"http://127.0.0.1:{home.home.port}/explain?channel=plain/x").json()["routes"]
    assert route["topic"] == "plain/#" and route["except"] == ["plain/secret/#"]


def test_what_a_reload_excepts_gets_no_more_messages(world):
    broker = world.broker()
    client = world.mqtt(broker.port)
    gateway = world.sluice(yaml(broker.port, "  - { topic: a/#, publish: {} }\n"))
    for topic in ("a/keep", "a/drop/1"):
        client.publish(topic, "1", retain=True)
    wait_until(lambda: names(gateway) == {"a/keep", "a/drop/1"})
    gateway.config.write_text(gateway.config.read_text().replace("topic: a/#", "topic: a/#, except: a/drop/#"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: gateway.post("/channels/a/drop/1", data=b"2").status_code == 404, what="the reload")
    assert gateway.post("/channels/a/keep", data=b"2").status_code == 200
    for topic in ("a/drop/1", "a/drop/2", "a/keep"):
        client.publish(topic, "3")
    wait_until(lambda: gateway.get("/channels/a/keep").json()["data"] == 3)
    assert gateway.get("/channels/a/drop/1").json()["data"] != 3  # a channel that a reload left without a route ages
    assert gateway.get("/channels/a/drop/2").status_code == 404


def test_devices_of_the_trackers(world):
    """Base topics and device names of several levels, and what ends in the same word elsewhere (docs/field.md)."""
    broker = world.broker()
    client = world.mqtt(broker.port, subscribe=["#"])
    gateway = world.sluice(yaml(broker.port, """
  - topic: /myhouse/zigbee/{device...}
    except: ["/myhouse/zigbee/{any...}/set"]
    channel: zigbee/{device...}
    publish: { topic: "/myhouse/zigbee/{device...}/set" }
  - topic: stat/{device...}/POWER
    channel: power/{device...}
    codec: text
    publish: { topic: "cmnd/{device...}/POWER" }
  - topic: "{node...}/sensor/{name}/state"
    except: zigbee2mqtt/#
    channel: esphome/{node...}/{name}
  - topic: sensors/temperature/#
    except: sensors/temperature/kitchen
"""))
    for topic, payload in [("/myhouse/zigbee/0x001788010342e000", "{}"), ("/myhouse/zigbee/up/bulb", "{}"), ("/myhouse/zigbee/up/bulb/set", "{}"),
                           ("stat/sonoff/floor1/light_01/POWER", "ON"), ("stat/POWER", "ON"), ("esp-weather-outdoor/sensor/temperature/state", "8.1"),
                           ("home/garden/esp/sensor/light/state", "4"), ("zigbee2mqtt/x/sensor/y/state", "1"),
                           ("sensors/temperature/kitchen", "20"), ("sensors/temperature/kitchen/oven", "90"), ("sensors/temperature/attic", "30")]:
        client.publish(topic, payload)
    wait_until(lambda: "sensors/temperature/attic" in names(gateway))
    assert names(gateway) == {"zigbee/0x001788010342e000", "zigbee/up/bulb", "power/sonoff/floor1/light_01", "esphome/esp-weather-outdoor/temperature",
                              "esphome/home/garden/esp/light", "sensors/temperature/kitchen/oven", "sensors/temperature/attic"}
    for channel, topic in [("zigbee/up/bulb", "/myhouse/zigbee/up/bulb/set"), ("power/sonoff/floor1/light_01", "cmnd/sonoff/floor1/light_01/POWER")]:
        assert gateway.post("/channels/" + channel, data=b'"OFF"').status_code == 200
        wait_until(lambda topic=topic: client.payloads(topic))
