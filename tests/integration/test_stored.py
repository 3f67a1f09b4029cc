"""Values that were cleared at the broker while the gateway had no connection (issue: In the field, E3): the gateway gives them up
too, and no others."""
import json
import socket
import threading

import pytest
import requests
from conftest import yaml
from fake_broker import FakeBroker
from harness import free_port, wait_until
from test_broker_session import Line

ROUTES = ("  - { topic: home/#, qos: 1, history: { count: 10 } }\n  - { topic: 'plain/{id}', channel: 'zero/{id}', qos: 0 }\n"
          "  - { topic: 'site/{site}/+/{id}', channel: 'site/{site}/{id}', qos: 1 }\n")
OTHERS = 5000


def fill(client, names, payload=lambda name: name.encode()):
    """Retained, each acknowledged before this returns."""
    infos = [client.client.publish(name, payload(name), 1, True) for name in names]
    for info in infos:
        info.wait_for_publish(60)


def values(gateway):
    """Channel to last value; of a few channels."""
    return {message["channel"]: message["data"] for message in gateway.get("/poll?channel=%23&cursor=last").json()["messages"]}


def names(gateway):
    """The channels that have a value, however many."""
    return {entry["channel"] for entry in gateway.get("/channels", timeout=30).json()["channels"]}


def gone(gateway, channel):
    return gateway.get("/channels/" + channel).status_code == 404


def settled(gateway, count):
    wait_until(lambda: gateway.metric("sluice_mqtt_stale_cleared_total") == count, 60, "so many to be cleared")


class Events(threading.Thread):
    """What a stock HTTP client gets of /sse."""

    def __init__(self, gateway, channel):
        super().__init__(daemon=True)
        self.answer = requests.get(f"{gateway.http}/sse", params={"channel": channel}, stream=True, timeout=120)
        self.messages = []
        self.start()

    def run(self):
        try:
            for line in self.answer.iter_lines():
                if line.startswith(b"data: {\"channel\""):
                    self.messages.append(json.loads(line[6:]))
        except Exception: # the end of the test
            pass

    def end(self):
        # close() alone waits for the line that run() is reading: the next heartbeat.
        self.answer.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self.answer.close()


def begin(world, broker, settings="", routes=ROUTES):
    line = world.keep(Line(broker.port))
    gateway = world.sluice(yaml(line.port, routes, broker=settings))
    return line, gateway


def away(line):
    line.port_behind, kept = free_port(), line.port_behind
    line.cut()
    return kept


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_cleared_while_the_connection_was_down(world, protocol, kept):
    """With 5,000 others."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    count = 1500 if kept else OTHERS # more than mosquitto queues at QoS 1
    others = [f"home/others/{number}" for number in range(count)]
    fill(client, others + ["home/old", "home/live", "plain/7", "site/a/x/1", "home/back"])
    settings = f"  protocol: {protocol}\n" + ("  client_id: keeper\n  session_expiry: 1h\n" if kept else "")
    line, gateway = begin(world, broker, settings)
    wait_until(lambda: int(gateway.metric("sluice_channels")) == count + 5, 60)
    client.publish("home/live", b"2", retain=True) # the last value has come as it happened
    client.publish("home/event", b"never retained")
    wait_until(lambda: not gone(gateway, "home/event") and gateway.get("/channels/home/live").json()["data"] == 2)
    events = world.keep(Events(gateway, "#"))
    wait_until(lambda: len(events.messages) >= count + 6, 30)
    events.messages.clear()

    port = away(line)
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    # At QoS 0: a kept session does not get it later.
    for topic in ("home/old", "home/live", "plain/7", "site/a/x/1", "home/back"):
        client.client.publish(topic, b"", 0, True).wait_for_publish(10)
    client.publish("home/others/17", b'"changed"', retain=True)
    line.port_behind = port
    gateway.wait_ready()
    client.publish("home/back", b'"again"')
    settled(gateway, 4)
    for channel in ("home/old", "home/live", "zero/7", "site/a/1"):
        assert gone(gateway, channel), channel
    assert gateway.get("/channels/home/event").json()["data"] == "never retained"
    assert gateway.get("/channels/home/back").json()["data"] == "again"
    assert gateway.get("/channels/home/others/17").json()["data"] == "changed"
    assert len(names(gateway)) == count + 2
    # Clients get what they get of a value that is cleared before their eyes.
    wait_until(lambda: sum(message["data"] is None for message in events.messages) == 4)
    assert all("retained" not in message for message in events.messages if message["data"] is None)
    assert gateway.get("/channels/home/old/history").json()["messages"][-1]["data"] is None
    # Nothing is left at the broker of how it was found out: a value comes once, at the QoS of the route.
    doubles = gateway.metric("sluice_mqtt_doubles_total")
    before = gateway.metric("sluice_mqtt_received_total")
    client.publish("home/old", b"5", retain=True)
    client.publish("site/a/x/1", b"6", retain=True)
    wait_until(lambda: not gone(gateway, "home/old") and not gone(gateway, "site/a/1"))
    assert gateway.metric("sluice_mqtt_received_total") - before == 2
    assert gateway.metric("sluice_mqtt_doubles_total") == doubles


@pytest.mark.timeout(120)
def test_cleared_while_the_gateway_was_stopped(world):
    """The disk has the values; and what it had cleared then stays cleared at the next start."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    fill(client, [f"home/{number}" for number in range(50)])
    storage = f"storage: {{ path: {world.directory}/history.db }}\n"
    routes = "  - { topic: home/#, qos: 1, history: { count: 10, store: disk } }\n"
    text = yaml(broker.port, routes, extra=storage)
    gateway = world.sluice(text)
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 50)
    client.publish("home/live", b"1", retain=True) # seen live only: the broker has said that it keeps it
    client.publish("home/event", b"1")
    wait_until(lambda: not gone(gateway, "home/live") and not gone(gateway, "home/event"))
    gateway.stop()
    fill(client, ["home/7", "home/live"], lambda _: b"") # at the broker before the gateway is: QoS 0 may wait in the socket
    gateway = world.sluice(text)
    assert not gone(gateway, "home/7") # as long as it is not known
    settled(gateway, 2)
    assert gone(gateway, "home/7") and gone(gateway, "home/live") and not gone(gateway, "home/event")
    assert len(names(gateway)) == 50
    gateway.stop()
    gateway = world.sluice(text)
    assert gone(gateway, "home/7") and gone(gateway, "home/live") and len(names(gateway)) == 50


@pytest.mark.timeout(120)
def test_a_broker_that_has_lost_everything(world):
    """mosquitto without persistence, started anew. What devices publish again stays."""
    broker = world.broker()
    fill(world.mqtt(broker.port), ["home/1", "home/2", "plain/3"])
    gateway = world.sluice(yaml(broker.port, ROUTES))
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 3)
    broker.end(politely=True)
    broker.start()
    gateway.wait_ready()
    world.mqtt(broker.port).publish("home/1", b"1", retain=True)
    settled(gateway, 2)
    assert values(gateway) == {"home/1": 1}


class Keeping(FakeBroker):
    """Has stored values, and a test decides how it sends them."""

    def __init__(self, stored, **connack):
        super().__init__(**connack)
        self.stored = dict(stored)
        self.refuse = {}
        self.tried = []

    def matches(self, name, topic):
        return topic == name or (name.endswith("/#") and topic.startswith(name[:-1]))

    def send_stored(self, c, name, identifier):
        for topic, payload in list(self.stored.items()):
            if self.matches(name, topic):
                c.publish(topic, payload, retain=True, **({"SubscriptionIdentifier": identifier} if identifier else {}))

    def subscribe(self, c, packet):
        name, options = packet["filters"][0]
        code = self.refuse.get(name, options & 3)
        c.suback(packet["mid"], [code])
        if "#" not in name:
            self.tried.append(name)
        if code < 0x80 and options >> 4 == 0:
            self.send_stored(c, name, (packet["props"].get("SubscriptionIdentifier") or [None])[0])


def reconnect(broker, gateway, count=2):
    broker.cut()
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == count)
    gateway.wait_ready()


@pytest.mark.timeout(120)
def test_a_broker_that_leaves_out_some_and_one_that_is_slow(world):
    """Stored messages that do not come with the others are asked for one by one before anything is cleared; and one that comes
    late, after half of the time, is waited for."""
    class Slow(Keeping):
        late = ()

        def send_stored(self, c, name, identifier):
            if name == "home/#" and self.late:
                kept, self.stored = self.stored, {topic: value for topic, value in self.stored.items() if topic not in self.late}
                super().send_stored(c, name, identifier)
                self.stored = kept
                for number, topic in enumerate(self.late[:2]):
                    threading.Timer(3 * (number + 1), lambda topic=topic: c.publish(topic, self.stored[topic], retain=True,
                                                                                  SubscriptionIdentifier=identifier)).start()
            else:
                super().send_stored(c, name, identifier)
    broker = world.keep(Slow({f"home/{number}": b"1" for number in range(30)}))
    gateway = world.sluice(yaml(broker.port, "  - topic: home/#\n    qos: 1\n"))
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 30)
    del broker.stored["home/0"]
    broker.late = [f"home/{number}" for number in range(10, 20)] # two late, eight not at all
    reconnect(broker, gateway)
    settled(gateway, 1)
    assert gone(gateway, "home/0") and len(names(gateway)) == 29
    assert set(broker.tried) == {"home/0"} | {f"home/{number}" for number in range(12, 20)}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("settings", [{}, {"SubscriptionIdentifierAvailable": 0}, {"RetainAvailable": 0}])
def test_what_is_refused_is_not_cleared(world, settings):
    broker = world.keep(Keeping({"home/1": b"1", "home/2": b"1", "other/1": b"1", "other/2": b"1"}))
    gateway = world.sluice(yaml(broker.port, "  - topic: home/#\n    qos: 1\n  - topic: other/#\n    qos: 1\n"))
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 4)
    broker.answer = settings
    broker.refuse = {"home/#": 0x87, "other/2": 0x87}
    broker.stored = {"other/3": b"1"}
    reconnect(broker, gateway)
    if "RetainAvailable" in settings: # it has none to give, and so says nothing
        wait_until(lambda: not gone(gateway, "other/3"))
        assert gateway.metric("sluice_mqtt_stale_cleared_total") == 0
        return
    settled(gateway, 1)
    assert values(gateway) == {"home/1": 1, "home/2": 1, "other/2": 1, "other/3": 1}


@pytest.mark.timeout(120)
def test_a_broker_that_closes_on_single_topics(world):
    """A policy that allows the routes' filters only (AWS IoT Core): after two connections it is left be."""
    class Closing(Keeping):
        def subscribe(self, c, packet):
            if "#" not in packet["filters"][0][0]:
                c.close()
            super().subscribe(c, packet)
    broker = world.keep(Closing({"home/1": b"1", "home/2": b"1"}))
    gateway = world.sluice(yaml(broker.port, "  - topic: home/#\n    qos: 1\n"))
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 2)
    del broker.stored["home/1"]
    broker.cut()
    wait_until(lambda: "the broker closes the connection when a single topic is subscribed to" in gateway.text(), 60)
    gateway.wait_ready()
    assert not gone(gateway, "home/1") and len(broker.connects) == 4
    assert "left out" not in gateway.text()


@pytest.mark.timeout(120)
def test_what_the_route_does_not_take_is_stored_all_the_same(world):
    """The broker's value is another one meanwhile, and the codec drops it, or it is too large: that is no clear."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    fill(client, ["home/broken", "home/large", "home/gone", "home/same"], lambda _: b'"good"')
    routes = "  - { topic: home/#, codec: json, qos: 1 }\n"
    line, gateway = begin(world, broker, "  max_packet: 1KiB\n", routes)
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 4)
    port = away(line)
    client.publish("home/broken", b"{not json", retain=True)
    client.publish("home/large", b'"' + b"x" * 2000 + b'"', retain=True)
    client.publish("home/gone", b"", retain=True)
    line.port_behind = port
    settled(gateway, 1)
    assert set(values(gateway)) == {"home/broken", "home/large", "home/same"}


@pytest.mark.timeout(120)
def test_a_reload_meanwhile(world):
    """While it is being found out the routes change: it is found out with the new ones."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    fill(client, ["home/1", "home/2", "plain/3"])
    line, gateway = begin(world, broker)
    wait_until(lambda: int(gateway.metric("sluice_channels")) == 3)
    port = away(line)
    client.publish("home/1", b"", retain=True)
    line.port_behind = port
    gateway.wait_ready()
    gateway.config.write_text(yaml(line.port, ROUTES + "  - topic: more/#\n"))
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())
    settled(gateway, 1)
    assert values(gateway) == {"home/2": "home/2", "zero/3": "plain/3"}


def test_live_messages_that_are_retained_are_live(world):
    """The second subscription has the broker say whether it stores them; for clients nothing changes: equal values are messages."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    for routes in ("  - { topic: home/#, qos: 1, history: { count: 10 } }\n", "  - { topic: home/#, qos: 0, history: { count: 10 } }\n"):
        gateway = world.sluice(yaml(broker.port, routes))
        client.publish("home/x", b"7")
        for retain in (True, True, False, True):
            client.publish("home/x", b"7", retain=retain)
        wait_until(lambda: len(gateway.get("/channels/home/x/history").json()["messages"]) == 5)
        assert all("retained" not in message for message in gateway.get("/channels/home/x/history").json()["messages"])
        assert gateway.metric("sluice_repeats_total") == 0
        client.publish("home/x", b"", retain=True)
        wait_until(lambda: gone(gateway, "home/x"))
        gateway.stop()


def test_overlapping_filters_of_which_the_better_one_is_refused(world):
    """Copies that come by the other filter are all there is, and no doubles."""
    broker = world.keep(Keeping({"home/a/1": b"1"}))
    broker.refuse = {"home/a/#": 0x87}
    gateway = world.sluice(yaml(broker.port, "  - topic: home/#\n    qos: 0\n  - topic: home/a/#\n    qos: 1\n"))
    wait_until(lambda: not gone(gateway, "home/a/1"))


class Clearing(FakeBroker):
    """Devices set values and clear them at once, just when the gateway asks for what is stored."""
    NAMES = [f"home/{i}" for i in range(50)]

    def subscribe(self, c, packet):
        super().subscribe(c, packet)
        ids = packet["props"]["SubscriptionIdentifier"]
        if packet["filters"][0][0] == "home/#" and ids[0] % 2 == 0:
            for name in self.NAMES:
                c.publish(name, b"1", retain=True, SubscriptionIdentifier=ids[0])
                c.publish(name, b"", retain=True, SubscriptionIdentifier=ids[0])


def test_a_value_and_its_clear_in_one_millisecond(world):
    """No broker stores an empty payload: whatever subscription it comes by, a device has sent it now."""
    broker = Clearing()
    try:
        gateway = world.sluice(yaml(broker.port, ROUTES))
        last = Clearing.NAMES[-1]
        wait_until(lambda: gateway.get(f"/channels/{last}/history").json().get("messages", [])[1:], what="the last clear")
        for name in Clearing.NAMES:
            messages = gateway.get(f"/channels/{name}/history").json()["messages"]
            assert [(message["data"], message.get("cleared")) for message in messages] == [(1, None), (None, True)], name
            assert gone(gateway, name)
    finally:
        broker.end()
