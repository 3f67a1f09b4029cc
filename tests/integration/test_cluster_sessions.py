"""Sessions that outlive their connection, at another gateway: kept MQTT sessions and Socket.IO's recovery, with stock clients."""
import contextlib
import json
import pathlib
import subprocess
import sys

import paho.mqtt.client as mqtt
import pytest
import socketio
from paho.mqtt.packettypes import PacketTypes

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cases
from harness import Mqtt, wait_until
from mqttclients import Paho, properties

EXTRA = "socketio: { recovery: 1m }\nmqtt: { session_expiry: 1h }\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("sessions"), nodes=3, extra=EXTRA) as world:
        world.device = world.keep(Device(world.plain))
        yield world


class Device:
    def __init__(self, port):
        self.client = Mqtt(port)
        self.end = self.client.close

    def send(self, topic, numbers):
        for number in numbers:
            self.client.publish(topic, str(number))


def attach(node, version, client_id, clean=False):
    more = {"properties": properties(PacketTypes.CONNECT, SessionExpiryInterval=600)} if version == mqtt.MQTTv5 else {}
    client = Paho(node, version, client_id=client_id, clean=clean, **more)
    client.present = client.connected().event("connect")[2]["session present"]
    return client


def cut(client):
    """As when the network fails: no DISCONNECT."""
    with contextlib.suppress(OSError):
        client.client._sock_close()
    client.client.loop_stop()


@pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5.0"])
def test_a_kept_mqtt_session_at_another_gateway(world, version):
    one, two, three = world.nodes
    topic, name = f"plant/m{version}/t", f"kept-{version}"
    client = attach(one, version, name)
    assert client.present == 0 and client.subscribe(topic, 1) == [1]
    world.device.send(topic, range(10))
    wait_until(lambda: len(client.got(topic)) == 10, what="the first")
    cut(client)
    at_engine = lambda: [world.redis.ask("GET", key) for key in world.redis.ask("--raw", "KEYS", "{test}:c:m:*").split()]
    wait_until(lambda: any(topic in text for text in at_engine()), what="the session at the engine")
    world.device.send(topic, range(10, 30))
    client = attach(two, version, name)
    assert client.present == 1
    wait_until(lambda: len(client.got(topic)) == 20, what=lambda: f"what came meanwhile: {client.got(topic)} {client.events}")
    assert client.got(topic) == [str(number).encode() for number in range(10, 30)]
    # The gateway is stopped in order, and the client comes back to the third.
    two.stop(20)
    client.client.loop_stop()
    world.device.send(topic, range(30, 40))
    two.again()
    client = attach(three, version, name)
    assert client.present == 1

    def fresh():
        """What it had not acknowledged when its gateway stopped comes once more, marked."""
        return [message.payload for message in client.messages if not message.dup]
    wait_until(lambda: len(fresh()) == 10, what="what came meanwhile")
    assert fresh() == [str(number).encode() for number in range(30, 40)]
    client.close()
    # Whoever wants a clean one gets it everywhere, and nothing of the old one is left.
    attach(two, version, name, clean=True).close()
    if version == mqtt.MQTTv5:
        return  # its clean session is kept as well
    again = attach(one, version, name)
    assert again.present == 0
    again.close()


def test_a_gateway_that_notices_late_overwrites_nothing_newer(world):
    """The client is at a second gateway before the first has noticed that it has gone."""
    one, two, three = world.nodes
    late = attach(one, mqtt.MQTTv5, "twice")
    assert late.present == 0 and late.subscribe("plant/old/t", 1) == [1]
    client = attach(two, mqtt.MQTTv5, "twice")
    assert client.present == 0 and client.subscribe("plant/new/t", 1) == [1]
    at_engine = lambda: [world.redis.ask("GET", key) for key in world.redis.ask("--raw", "KEYS", "{test}:c:m:*").split()]
    client.close()
    wait_until(lambda: any("plant/new/t" in text for text in at_engine()), what="the session of the second gateway")
    late.close()
    barrier = attach(one, mqtt.MQTTv5, "barrier")  # what the first gateway leaves goes to the engine one after the other
    barrier.subscribe("plant/barrier/t", 1)
    barrier.close()
    wait_until(lambda: any("plant/barrier/t" in text for text in at_engine()), what="what was left after it")
    assert not any("plant/old/t" in text for text in at_engine())
    client = attach(three, mqtt.MQTTv5, "twice")
    assert client.present == 1
    world.device.send("plant/old/t", [1])
    world.device.send("plant/new/t", [2])
    wait_until(lambda: client.got("plant/new/t") == [b"2"], what="what it subscribed to last")
    assert client.got("plant/old/t") == []
    client.close()


def hop(node, transports, **auth):
    client = socketio.Client(reconnection=False)
    client.got, client.offset = [], None

    def on_message(message, offset=None):
        client.got.append(message["data"])
        client.offset = offset or client.offset
    client.on("message", on_message)
    client.on("welcome", lambda _, offset=None: setattr(client, "offset", offset))
    client.welcomed = []
    client.on("welcome", lambda _, offset=None: (client.welcomed.append(1), setattr(client, "offset", offset)))
    client.connect(node.http, transports=transports, auth=auth or None)
    return client


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids="+".join)
def test_declared_channels_go_on_at_another_gateway(world, transports):
    """The client says what it listens to, and where it stands: that needs nothing of the gateway before, which may be dead."""
    one, two, _ = world.nodes
    topic = f"plant/d{transports[0]}/t"
    client = hop(one, transports, channels=[topic])
    world.device.send(topic, range(5))
    wait_until(lambda: client.got == list(range(5)), what="the first")
    offset = client.offset
    client.disconnect()
    world.device.send(topic, range(5, 15))
    client = hop(two, transports, channels=[topic], pid="x" * 20, offset=offset)
    wait_until(lambda: len(client.got) >= 10, what="what came meanwhile")
    assert sorted(client.got) == list(range(5, 15)) and not client.welcomed
    client.disconnect()


NODE = """
import { io } from 'socket.io-client';
const [first, second, third] = process.argv.slice(2);
const socket = io(first, { transports: ['websocket'], reconnectionDelay: 50, reconnectionDelayMax: 100 });
const say = (...words) => console.log(JSON.stringify(words));
socket.on('message', (message) => say('message', message.data));
socket.on('connect', () => { say('connect', socket.recovered); if (!socket.recovered) socket.emit('subscribe', 'plant/n/t', () => say('subscribed')); });
process.stdin.on('data', (line) => {
  socket.io.uri = String(line).trim() === '2' ? second : third;
  socket.io.engine.close();
});
"""


def test_the_stock_client_of_node_recovers_at_another_gateway(world, tmp_path):
    """It declares nothing: what it had subscribed to is at the engine. Also when the gateway before is killed."""
    one, two, three = world.nodes
    script = ROOT / "tests/browser/.cluster.mjs"
    script.write_text(NODE)
    child = subprocess.Popen(["node", str(script), one.http, two.http, three.http], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        def read():
            return json.loads(child.stdout.readline())

        def messages(count):
            return [read() for _ in range(count)]
        assert read() == ["connect", False] and read() == ["subscribed"]
        world.device.send("plant/n/t", range(5))
        assert messages(5) == [["message", i] for i in range(5)]
        child.stdin.write("2\n")
        child.stdin.flush()
        world.device.send("plant/n/t", range(5, 10))
        assert read() == ["connect", True]
        assert messages(5) == [["message", i] for i in range(5, 10)]
        child.stdin.write("3\n")
        child.stdin.flush()
        assert read() == ["connect", True]
        world.device.send("plant/n/t", [10])
        assert read() == ["message", 10]
        child.stdin.write("2\n")  # where it goes when its gateway dies
        child.stdin.flush()
        assert read() == ["connect", True]
        two.end()
        two.again()
        world.device.send("plant/n/t", range(11, 16))
        assert read() == ["connect", True]
        assert messages(5) == [["message", i] for i in range(11, 16)]
    finally:
        child.kill()
        child.wait()
        script.unlink()


def test_another_client_gets_nothing_of_it(world):
    """A session is of the client that had it; what lies at the engine has an end."""
    one, two, _ = world.nodes
    for key in world.redis.ask("--raw", "KEYS", "{test}:c:*").split():
        assert 0 < int(world.redis.ask("PTTL", key)) <= 24 * 3600 * 1000, key
    world.redis.ask("SET", "{test}:c:s:" + "y" * 20, "1 -1 0: 1:/ 0 0 9 nonsense")
    client = hop(two, ["websocket"], pid="y" * 20, offset="tested.5")
    wait_until(lambda: client.welcomed, what="a new session")
    client.disconnect()
