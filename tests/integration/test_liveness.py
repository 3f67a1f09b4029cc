"""What a channel's state is, and that everybody is told (decision 0022): real silence, real wills, real outages."""
import asyncio
import json
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest
import requests
import websockets
from conftest import yaml
from harness import wait_until
from mqttclients import Paho
from paho.mqtt.subscribeoptions import SubscribeOptions

# From silence to `stale` on a client's screen: a tick of the wheel, and a loop and a socket on a busy machine.
LATE = 0.8

ROUTES = """
  - { topic: 'fast/{id}', stale: 300ms }
  - { topic: 'slow/{id}', stale: 1h }
  - { topic: 'z2m/{device}', channel: 'dev/{device}', stale: 1h, available: { topic: 'z2m/{device}/availability' } }
  - { topic: 'word/{room}/{id}', available: { topic: 'word/{room}/LWT', online: ['true', ready] } }
  - { topic: 'plain/{id}' }
"""


@pytest.fixture
def broker(world):
    return world.broker()


@pytest.fixture
def device(world, broker):
    return world.mqtt(broker.port)


@pytest.fixture
def gateway(world, broker):
    return world.sluice(yaml(broker.port, ROUTES))


def state(gateway, channel):
    answer = gateway.get("/channels/" + channel)
    return answer.json().get("state") if answer.ok else None


def comes(gateway, channel, wanted, timeout=10):
    wait_until(lambda: state(gateway, channel) == wanted, timeout, lambda: f"{channel} {wanted}, it is {state(gateway, channel)}")


class Client:
    """A stock WebSocket client."""

    def __init__(self, gateway, channel, cursor=None):
        self.loop = asyncio.new_event_loop()
        self.socket = self.wait(lambda: websockets.connect(gateway.ws + "/ws", max_size=None))
        self.next()
        frame = {"type": "subscribe", "channel": channel, **({"cursor": cursor} if cursor else {})}
        self.wait(lambda: self.socket.send(json.dumps(frame)))
        self.subscribed = self.next()

    def wait(self, something):
        async def here():
            return await asyncio.wait_for(something(), 10)
        return self.loop.run_until_complete(here())

    def next(self):
        return json.loads(self.wait(self.socket.recv))

    def expect(self, kind, **wanted):
        frame = self.next()
        assert frame["type"] == kind and {key: frame.get(key) for key in wanted} == wanted, frame
        return frame

    def close(self):
        self.wait(self.socket.close)
        self.loop.close()


@pytest.fixture
def connect(gateway):
    clients = []

    def make(channel, cursor=None):
        clients.append(Client(gateway, channel, cursor))
        return clients[-1]
    yield make
    for client in clients:
        if not client.loop.is_closed():
            client.close()


def test_silence_is_told_in_time(gateway, device, connect):
    client = connect("+/x")
    before = time.time()
    device.publish("fast/x", b"1")
    device.publish("plain/x", b"1")
    message = client.expect("message", channel="fast/x", data=1)
    client.expect("message", channel="plain/x")
    stale = client.expect("status", channel="fast/x", state="stale")
    silent = time.time() - before
    assert 0.3 <= silent < 0.3 + LATE
    assert abs(stale["seen"] - message["ts"]) < 50 and 300 <= stale["since"] - stale["seen"] < 300 + LATE * 1000
    assert int(stale["cursor"].rpartition(".")[2]) > int(message["cursor"].rpartition(".")[2])
    listed = {entry["channel"]: entry for entry in gateway.get("/channels").json()["channels"]}
    assert (listed["fast/x"]["state"], listed["fast/x"]["since"]) == ("stale", stale["since"])
    assert "state" not in listed["plain/x"] and "state" not in gateway.get("/channels/plain/x").json()
    assert gateway.metric('sluice_channel_states{state="stale"}') == 1
    device.publish("fast/x", b"2")
    client.expect("message", data=2)
    client.expect("status", channel="fast/x", state="live")
    client.expect("status", channel="fast/x", state="stale")


def test_messages_keep_it_live(gateway, device, connect):
    client = connect("fast/k")
    for number in range(12):
        device.publish("fast/k", b"same")
        threading.Event().wait(0.1)
    frames = [client.next() for _ in range(13)]
    assert [frame["type"] for frame in frames] == ["message"] * 12 + ["status"]


def test_a_stored_value_is_of_unknown_age(world, broker, device):
    device.publish("slow/s", b"1", retain=True)
    gateway = world.sluice(yaml(broker.port, ROUTES))
    comes(gateway, "slow%2Fs", "unknown")
    client = Client(gateway, "slow/s")
    client.expect("message", data=1, retained=True)
    assert "seen" not in client.expect("status", state="unknown")
    device.publish("slow/s", b"1")
    client.expect("message", data=1)
    client.expect("status", state="live")
    client.close()


def will(broker, topic, payload):
    """A device that is there, with a will, until somebody kills it."""
    return subprocess.Popen(["mosquitto_sub", "-p", str(broker.port), "-t", "nothing", "--will-topic", topic, "--will-payload",
                             payload, "--will-retain", "--will-qos", "1", "-i", "lamp"])


@pytest.mark.parametrize("payload", ["offline", '{"state":"offline"}'])
def test_a_will_by_kill_9(gateway, broker, device, connect, payload):
    lamp = will(broker, "z2m/lamp/availability", payload)
    try:
        client = connect("dev/+")
        device.publish("z2m/lamp/availability", payload.replace("offline", "online").encode(), retain=True)
        device.publish("z2m/lamp", b"1")
        client.expect("message", channel="dev/lamp", data=1)
        wait_until(lambda: "lamp" in broker.text(), what="the device to connect")
    finally:
        lamp.kill()
        lamp.wait()
    begun = time.monotonic()
    client.expect("status", channel="dev/lamp", state="offline")
    assert time.monotonic() - begun < LATE
    device.publish("z2m/lamp", b"2") # on its way before
    client.expect("message", data=2)
    device.publish("z2m/lamp/availability", payload.replace("offline", "online").encode(), retain=True)
    client.expect("status", state="live")


def test_one_word_for_many_channels(gateway, device):
    device.publish("word/hall/LWT", b"TRUE", retain=True)
    for channel in "abc":
        device.publish(f"word/hall/{channel}", b"1")
    device.publish("word/attic/a", b"1")
    comes(gateway, "word%2Fhall%2Fa", "live")
    device.publish("word/hall/LWT", b"lost", retain=True)
    for channel in "abc":
        comes(gateway, f"word%2Fhall%2F{channel}", "offline")
    assert state(gateway, "word%2Fattic%2Fa") == "live"
    device.publish("word/hall/LWT", b'"ready"', retain=True)
    for channel in "abc":
        comes(gateway, f"word%2Fhall%2F{channel}", "live")


def poll(gateway, cursor):
    answer = gateway.get("/poll", params={"channel": "fast/p", "cursor": cursor, "wait": 5})
    return answer.json() if answer.status_code == 200 else None


def events(gateway, last_id=None):
    """The next event of the stream: its name and object."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with requests.get(gateway.http + "/sse?channel=fast/p", stream=True, timeout=15, headers=headers) as answer:
        fields = {}
        for line in answer.iter_lines(decode_unicode=True):
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield fields.get("event", "message"), fields["id"], json.loads(fields["data"])
                fields = {}


def test_whoever_comes_back_knows(gateway, device, connect):
    """Away while the state changes, on one transport and back on another."""
    client = connect("fast/p")
    device.publish("fast/p", b"1")
    cursor = client.expect("message", data=1)["cursor"]
    client.close()
    comes(gateway, "fast%2Fp", "stale")
    answer = poll(gateway, cursor)
    assert answer["messages"] == [] and [s["state"] for s in answer["states"]] == ["stale"]
    assert answer["states"][0]["channel"] == "fast/p" and "type" not in answer["states"][0]
    name, at, status = next(events(gateway, cursor))
    assert (name, status["state"], at) == ("status", "stale", status["cursor"])
    resumed = connect("fast/p", cursor)
    assert resumed.subscribed["recovered"] is True
    resumed.expect("status", state="stale")
    later = connect("fast/p", status["cursor"]) # it has had it
    device.publish("fast/p", b"2")
    later.expect("message", data=2)
    later.expect("status", state="live")
    fresh = connect("fast/#")
    fresh.expect("message", data=2)
    assert fresh.next()["type"] == "status"


def test_the_broker_away(world, broker, device, gateway, connect):
    client = connect("fast/b")
    device.publish("fast/b", b"1")
    client.expect("message", data=1)
    broker.kill()
    kinds = {}
    while kinds.get("status") != "unknown":
        frame = client.next()
        kinds[frame["type"]] = frame["state"]
        assert frame["state"] != "stale" # who can know?
    assert kinds.get("upstream", "down") == "down"
    broker.start()
    while (frame := client.next())["type"] != "upstream" or frame["state"] != "up":
        pass
    client.expect("status", state="stale")
    again = world.mqtt(broker.port)
    again.publish("fast/b", b"2")
    client.expect("message", data=2)
    client.expect("status", state="live")


def test_a_reload_changes_what_is_stale(gateway, broker, device, connect):
    client = connect("+/r")
    device.publish("plain/r", b"1")
    client.expect("message", channel="plain/r")
    gateway.config.write_text(yaml(broker.port, ROUTES.replace("'plain/{id}'", "'plain/{id}', stale: 200ms")))
    gateway.signal(1)
    client.expect("status", channel="plain/r", state="stale")
    gateway.config.write_text(yaml(broker.port, ROUTES))
    gateway.signal(1)
    client.expect("status", channel="plain/r", state="live")
    wait_until(lambda: state(gateway, "plain%2Fr") in (None, "live"), what="no state")


def test_a_restart_with_storage(world, broker, device):
    routes = """
  - { topic: 'old/{id}', stale: 200ms, history: { store: disk } }
  - { topic: 'young/{id}', stale: 1h, history: { store: disk } }
"""
    text = yaml(broker.port, routes, extra=f"storage: {{ path: {world.directory}/history.db, flush: 50ms }}")
    first = world.sluice(text)
    device.publish("old/a", b"1")
    device.publish("young/a", b"1")
    comes(first, "old%2Fa", "stale")
    cursor = first.get("/channels").json()["cursor"]
    first.stop()
    second = world.sluice(text)
    client = Client(second, "#", cursor)
    assert client.subscribed["recovered"] is True
    told = {}
    while len(told) < 2 or told["old/a"] != "stale":
        frame = client.expect("status")
        told[frame["channel"]] = frame["state"]
    assert told["young/a"] == "live"
    client.close()


def test_50000_channels(world, broker, device):
    """They cost nothing while they are live, and are all stale in time."""
    count, each = 50000, 1000
    gateway = world.sluice(yaml(broker.port, "  - { topic: 'many/{n}', channel: 'many/{n}/{member}', stale: 3s,\n"
                                "      transform: split, history: { count: 0 } }\n"))
    for number in range(count // each):
        device.publish(f"many/{number}", json.dumps({f"k{key}": key for key in range(each)}).encode())
    wait_until(lambda: sum(gateway.metric(f'sluice_channel_states{{state="{s}"}}') for s in ("live", "stale")) == count, 20, "all")
    wait_until(lambda: gateway.metric('sluice_channel_states{state="stale"}') == count, 20, "all of them stale")
    spent = gateway.cpu()
    threading.Event().wait(0.5)
    assert gateway.cpu() - spent < 0.1
    assert gateway.metric("sluice_channels") == count


def test_mqtt_clients_get_the_state_with_the_last_value(world, broker, device):
    """As a user property of the retained message, of each state but live; and 3.1.1 knows no properties."""
    gateway = world.sluice(yaml(broker.port, ROUTES, extra="mqtt: true\n"))
    device.publish("slow/live", b"1")
    device.publish("plain/p", b"1")
    device.publish("fast/m", b"1")
    device.publish("z2m/m", b"1")
    device.publish("z2m/m/availability", b"offline")
    wanted = {"slow/live": None, "plain/p": None, "fast/m": "stale", "dev/m": "offline"}
    for channel, told in wanted.items():
        comes(gateway, channel, None if channel == "plain/p" else told or "live")
    wait_until(lambda: gateway.get("/channels/plain/p").ok)
    clients = [Paho(gateway, version).connected() for version in (mqtt.MQTTv5, mqtt.MQTTv311)]
    for client in clients:
        assert client.subscribe([(channel, SubscribeOptions(1)) for channel in wanted] if client.version == mqtt.MQTTv5 else
                                [(channel, 1) for channel in wanted])
        wait_until(lambda it=client: len(it.messages) == len(wanted))
    assert {m.topic: dict(getattr(m.properties, "UserProperty", [])).get("state") for m in clients[0].messages} == wanted
    device.publish("fast/m", b"2")  # a live message is live
    wait_until(lambda: len(clients[0].messages) == len(wanted) + 1)
    assert not hasattr(clients[0].messages[-1].properties, "UserProperty")
    for client in clients:
        client.close()
