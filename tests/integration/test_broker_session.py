"""Connections to the broker that break in the middle of acknowledgements: nothing comes twice, late or not at all."""
import contextlib
import random
import socket
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from conftest import yaml
from harness import wait_until

ROUTE = '  - topic: "kept/{id}"\n    qos: %d\n    history: { count: 1000 }\n'


class Line:
    """Between the gateway and the broker. While `mute`, what the gateway says is thrown away. `pieces`: sends on what the broker
    says in pieces of no more than so many bytes."""

    def __init__(self, port, pieces=None):
        self.port_behind = port
        self.pieces = pieces
        self.mute = False
        self.seen = b""
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.port_behind), 5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                self.sockets += [near, far]
                threading.Thread(target=self.copy, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self.copy, args=(far, near, False), daemon=True).start()

    def copy(self, source, target, up):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not up:
                    self.seen += data
                if not up and self.pieces:
                    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while data:
                        size = random.randint(1, self.pieces)
                        target.sendall(data[:size])
                        data = data[size:]
                elif not (up and self.mute):
                    target.sendall(data)
        self.shut(source, target)

    @staticmethod
    def shut(*sockets):
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        sockets, self.sockets = self.sockets, []
        self.mute = False
        self.shut(*sockets)

    def end(self):
        self.cut()
        self.shut(self.listener)
        self.listener.close()


def history(gateway):
    return [message["data"]["n"] for message in gateway.get("/channels/kept/1/history").json()["messages"]]


def last(gateway):
    answer = gateway.get("/channels/kept/1")
    return answer.status_code == 200 and answer.json()["data"]["n"]


def begin(world, qos, expiry, protocol):
    broker = world.broker(config="allow_anonymous true\nmax_inflight_messages 100")
    line = world.keep(Line(broker.port))
    gateway = world.sluice(yaml(line.port, routes=ROUTE % qos, broker=f"  client_id: keeper\n  session_expiry: {expiry}\n"
                                                                      f"  protocol: {protocol}\n"))
    return broker, line, gateway


def publish(client, numbers):
    for n in numbers:
        client.publish("kept/1", '{"n":%d}' % n, qos=2)


@pytest.mark.sanitize
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
def test_acknowledgements_lost_with_the_connection(world, qos, protocol):
    broker, line, gateway = begin(world, qos, "1h", protocol)
    client = world.mqtt(broker.port)
    publish(client, range(1, 6))
    wait_until(lambda: last(gateway) == 5)
    # What is left over from one time must not hurt the next one. No more than 20 may be in flight in all (libmosquitto's
    # Receive Maximum), and the gateway may show a value before its acknowledgement has left.
    for first in (6, 12, 18):
        line.mute = True
        publish(client, range(first, first + 3))
        wait_until(lambda: b'{"n":%d}' % (first + 2) in line.seen)
        line.cut()
        publish(client, range(first + 3, first + 6))
        wait_until(lambda: last(gateway) == first + 5)
    assert history(gateway) == list(range(1, 24))


@pytest.mark.parametrize("expiry", ["0s", "1h"])
@pytest.mark.parametrize("qos", [1, 2])
def test_broker_forgets_the_session(world, qos, expiry):
    broker, line, gateway = begin(world, qos, expiry, "5")
    client = world.mqtt(broker.port)
    publish(client, range(1, 6))
    wait_until(lambda: last(gateway) == 5)
    line.mute = True
    publish(client, range(6, 16))
    wait_until(lambda: b'{"n":15}' in line.seen)
    broker.kill()
    line.cut()
    broker.start()
    gateway.wait_ready()
    again = world.mqtt(broker.port)
    publish(again, range(16, 60))
    wait_until(lambda: last(gateway) == 59)
    numbers = history(gateway)
    assert numbers == sorted(set(numbers)) and numbers[-44:] == list(range(16, 60))


def test_same_value_again_is_no_redelivery(world):
    """Equal values that are published anew after a reconnect are messages, however alike they are."""
    broker, line, gateway = begin(world, 1, "1h", "5")
    client = world.mqtt(broker.port)
    for _ in range(3):
        for _ in range(4):
            client.publish("kept/1", '{"n":7}')
        line.cut()
    client.publish("kept/1", '{"n":8}')
    wait_until(lambda: last(gateway) == 8)
    assert history(gateway) == [7] * 12 + [8]


def described(n):
    """A message's properties, of many kinds: what the gateway reads itself and what it leaves to libmosquitto."""
    properties = Properties(PacketTypes.PUBLISH)
    if n % 3 == 1:
        properties.UserProperty = [("unit", "kWh"), ("n", str(n))]
        properties.ContentType = "application/json"
        properties.MessageExpiryInterval = 600
        properties.PayloadFormatIndicator = 1
    elif n % 3 == 2:
        properties.CorrelationData = b"not one of the gateway's"
        properties.ResponseTopic = "answers/here"
    return properties


@pytest.mark.sanitize
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("pieces", [7, 1500])
def test_stream_in_pieces(world, protocol, pieces):
    """However the broker's stream is cut: every message once and in order, while publishes of our own are acknowledged."""
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
    line = world.keep(Line(broker.port, pieces))
    gateway = world.sluice(yaml(line.port, broker=f"  protocol: {protocol}\n", routes='  - topic: "kept/{id}"\n    qos: 1\n'
                                "    history: { count: 5000, bytes: 64MiB }\n  - topic: out/{id}\n    publish: { qos: 1 }\n"))
    client = paho.Client(protocol=paho.MQTTv5)
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        for n in range(1, 1001):
            # QoS 0 beside QoS 1; now and then one that is larger than what the gateway looks at in one go.
            payload = '{"n":%d,"text":"%s"}' % (n, "x" * (70000 if n in (300, 301) else n % 200))
            client.publish("kept/1", payload, qos=n % 5 > 1, properties=described(n))
            if n % 50 == 0:
                answer = gateway.post("/channels/out/1", '{"on":%d}' % n)
                assert answer.status_code == 200, answer.text
        wait_until(lambda: len(history(gateway)) >= 1000, 60)
    finally:
        client.disconnect()
        client.loop_stop()
    numbers = history(gateway)
    for again in (True, False): # at a broker QoS 0 may overtake QoS 1, which waits for PUBACKs
        assert [n for n in numbers if (n % 5 > 1) == again] == [n for n in range(1, 1001) if (n % 5 > 1) == again]
    assert gateway.metric("sluice_mqtt_connects_total") == 1
