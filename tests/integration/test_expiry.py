"""MQTT 5 message expiry (section 3.3.2.3.3): what has expired is no last value and in no history any more (issue: In the field,
E2). Those who had it in time keep it."""
import threading
import time

import paho.mqtt.client as paho
import pytest
import requests
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from conftest import yaml
from harness import wait_until
from test_stored import Keeping, gone, names, values

ROUTES = "  - { topic: home/#, qos: 1, history: { count: 20 } }\n  - { topic: 'none/{id}', history: { count: 0 } }\n" \
         "  - { topic: 'paced/{id}', rate: { policy: latest, interval: 100ms } }\n" \
         "  - { topic: 'change/{id}', rate: { policy: on_change } }\n"


class Device:
    """A stock MQTT 5 client."""

    def __init__(self, port):
        self.client = paho.Client(protocol=paho.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def publish(self, topic, payload, expiry=None, retain=False, qos=1, correlated=False):
        properties = Properties(PacketTypes.PUBLISH)
        if expiry is not None:
            properties.MessageExpiryInterval = expiry
        if correlated: # then libmosquitto reads the packet, not the gateway
            properties.CorrelationData = b"x"
        self.client.publish(topic, payload, qos, retain, properties).wait_for_publish(10)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def start(world, extra="", routes=ROUTES, broker=None):
    broker = broker or world.broker()
    device = world.keep(Device(broker.port))
    return broker, device, world.sluice(yaml(broker.port, routes, extra=extra))


def history(gateway, channel):
    return [message["data"] for message in gateway.get(f"/channels/{channel}/history").json()["messages"]]


@pytest.mark.parametrize("correlated", [False, True])
def test_after_its_time(world, correlated):
    broker, device, gateway = start(world)
    channels = ["home/a", "none/a", "paced/a", "change/a"]
    device.publish("home/a", b"0", correlated=correlated)
    live = requests.get(f"{gateway.http}/sse?channel=home/a", stream=True, timeout=30)
    lines = live.iter_lines()
    for topic in channels:
        device.publish(topic, b"1", expiry=2, correlated=correlated)
        device.publish(topic.replace("/a", "/stays"), b"1", expiry=600, correlated=correlated)
        device.publish(topic.replace("/a", "/ever"), b"1", correlated=correlated)
    wait_until(lambda: len(names(gateway)) == 12)
    assert history(gateway, "home/a") == [0, 1]
    assert any(b'"data":1' in line for line in lines) # whoever listens gets it
    for channel in channels:
        wait_until(lambda: gone(gateway, channel), 5)
        assert gateway.get("/channels/" + channel).json()["code"] == "no_value"
    assert history(gateway, "home/a") == [0]
    expected = {name for topic in channels for name in (topic.replace("/a", "/stays"), topic.replace("/a", "/ever"))}
    assert set(values(gateway)) == expected == names(gateway)
    # The next value is there as always.
    device.publish("home/a", b"2", correlated=correlated)
    wait_until(lambda: not gone(gateway, "home/a"))
    assert history(gateway, "home/a") == [0, 2]
    live.close()


def test_who_comes_back_does_not_get_it(world):
    """Resuming leaves out what has expired, without a gap: it is not lost, it is over."""
    broker, device, gateway = start(world)
    for topic in ("home/a", "none/a"):
        device.publish(topic, b"0")
    wait_until(lambda: len(names(gateway)) == 2)
    cursor = gateway.get("/channels/home/a").headers["Sluice-Cursor"]
    device.publish("home/a", b"1", expiry=1)
    device.publish("home/a", b"2")
    device.publish("none/a", b"1", expiry=1)
    wait_until(lambda: gone(gateway, "none/a"), 5)
    for channels in ("channel=home/a", "channel=%23", "channel=home/%2B"):
        answer = gateway.get(f"/poll?{channels}&cursor={cursor}").json()
        assert [message["data"] for message in answer["messages"]] == [2] and answer["gaps"] == []


def test_many_channels(world):
    """More than are looked at one by one: the walk through the sequence leaves them out too."""
    broker, device, gateway = start(world)
    for number in range(3000):
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = 4 if number % 2 else 600
        info = device.client.publish(f"home/{number}", b"1", 0, False, properties)
    info.wait_for_publish(10)
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 3000, 20)
    wait_until(lambda: len(names(gateway)) == 1500, 20)
    seen, cursor = set(), "last"
    while True:
        answer = gateway.get(f"/poll?channel=%23&cursor={cursor}&wait=1")
        if answer.status_code == 204:
            break
        seen |= {message["channel"] for message in answer.json()["messages"]}
        cursor = answer.json()["cursor"]
    assert seen == {f"home/{number}" for number in range(0, 3000, 2)}


def test_on_the_disk(world):
    extra = f"storage: {{ path: {world.directory}/history.db }}\n"
    routes = "  - { topic: home/#, qos: 1, history: { count: 20, store: disk } }\n"
    broker, device, gateway = start(world, extra, routes)
    device.publish("home/a", b"1", expiry=600)
    device.publish("home/a", b"2", expiry=3)
    device.publish("home/b", b"1", expiry=3)
    device.publish("home/c", b"1", expiry=600)
    wait_until(lambda: len(names(gateway)) == 3)
    begun = time.monotonic()
    gateway.stop()
    gateway = world.sluice(gateway.config.read_text())
    assert time.monotonic() - begun > 3 or len(names(gateway)) == 3
    wait_until(lambda: gone(gateway, "home/b") and gone(gateway, "home/a"), 6)
    assert history(gateway, "home/a") == [1] and names(gateway) == {"home/c"}


def test_a_stored_one_that_is_sent_again(world):
    """What is left of its time is the broker's to say; a value that was renewed meanwhile lives on, and one that has not
    changed is still no news."""
    broker = world.keep(Keeping({}))
    sent = {}

    def send_stored(c, name, identifier):
        for topic, expiry in sent.items():
            values = {"MessageExpiryInterval": expiry} if expiry else {}
            c.publish(topic, b"1", retain=True, SubscriptionIdentifier=identifier, **values)
    broker.send_stored = send_stored
    sent.update({"home/same": 600, "home/renewed": 2, "home/forever": 2, "home/over": 2})
    gateway = world.sluice(yaml(broker.port, "  - { topic: home/#, qos: 1 }\n"))
    wait_until(lambda: len(names(gateway)) == 4)
    sent.update({"home/same": 599, "home/renewed": 600, "home/forever": 0})
    del sent["home/over"]
    repeats = gateway.metric("sluice_repeats_total")
    broker.cut()
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 2)
    wait_until(lambda: gone(gateway, "home/over"), 5)
    assert names(gateway) == {"home/same", "home/renewed", "home/forever"}
    assert gateway.metric("sluice_repeats_total") - repeats == 1


def test_on_change_renews(world):
    """A device that sends the same value again and again with an expiry keeps it alive; most of them are no news all the same."""
    broker, device, gateway = start(world)
    stop = threading.Event()

    def run():
        while not stop.wait(0.1):
            device.publish("change/a", b"7", expiry=2)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: not gone(gateway, "change/a"))
        end = time.monotonic() + 5 # longer than two of its lives
        while time.monotonic() < end:
            assert not gone(gateway, "change/a")
    finally:
        stop.set()
        thread.join()
    assert gateway.metric("sluice_unchanged_total") > 20 and len(history(gateway, "change/a")) < 8
    wait_until(lambda: gone(gateway, "change/a"), 5)
