"""Commands that are no states (TOGGLE, +10, an empty payload), clients that leave while one waits, and numbers by route."""
import concurrent.futures
import json
import socket
import time

import paho.mqtt.client as mqtt
import pytest
import requests
from conftest import World, yaml
from harness import wait_until
from lamps import version

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: [/state, /brightness], within: 2s } }
  - topic: stat/{id}/POWER
    channel: power/{id}
    codec: text
    publish: { topic: "cmnd/{id}/POWER", confirm: { any: "", within: 2s } }
  - topic: stat/{id}/DIMMER
    channel: dimmer/{id}
    codec: number
    publish: { topic: "cmnd/{id}/DIMMER", confirm: { change: ["+*", "-*"], within: 2s } }
  - topic: "shellies/{id}/relay/0"
    channel: shelly/{id}
    publish: { topic: "shellies/{id}/relay/0/command", qos: 0, confirm: { any: status_update, within: 2s } }
  - topic: slow/{id}
    publish: { topic: "slow/{id}/set", confirm: { within: 60s } }
"""


class Device:
    """Zigbee2MQTT, Tasmota and Shelly: each holds a value for each topic, and does what it is told; `deaf` ones only report."""

    def __init__(self, port):
        self.values = {}
        self.client = mqtt.Client(client_id="", **version())
        self.client.on_message = self.on_message
        self.ready = []
        self.client.on_subscribe = lambda *_: self.ready.append(1)
        self.client.on_connect = lambda client, *_: client.subscribe([(t, 1) for t in ("z2m/+/set", "cmnd/#", "shellies/+/relay/0/command", "slow/+/set")])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(lambda: self.ready)

    def on_message(self, _client, _data, message):
        levels, said = message.topic.split("/"), message.payload.decode()
        if levels[0] == "slow":
            return
        topic = {"z2m": "z2m/" + levels[1], "cmnd": f"stat/{levels[1]}/{levels[-1]}"}.get(levels[0], message.topic[:-8])
        value = self.values.setdefault(topic, 40 if topic.endswith("DIMMER") else "off" if levels[0] == "shellies" else "OFF")
        command = json.loads(said)["state"] if levels[0] == "z2m" else said
        if "deaf" not in topic and command.upper() == "TOGGLE":
            value = {"ON": "OFF", "OFF": "ON", "on": "off", "off": "on"}[value]
        elif "deaf" not in topic and command[:1] in ("+", "-"):
            value = max(0, min(100, value + int(command)))
        self.values[topic] = value
        self.say(topic)

    def say(self, topic):
        value = self.values[topic]
        self.client.publish(topic, json.dumps({"state": value, "linkquality": 90}) if topic.startswith("z2m") else str(value), 1)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("hall"))
    broker = world.broker()
    devices = Device(broker.port)
    gateway = world.sluice(yaml(broker.port, ROUTES))
    yield gateway, devices
    devices.close()
    world.end()


def post(gateway, channel, data):
    answer = requests.post(f"{gateway.http}/channels/{channel}?confirm=true", data=data, timeout=10)
    return answer.json()


def show(hall, channel, topic, value):
    """The channel has a value before the command."""
    gateway, devices = hall
    devices.values[topic] = value
    devices.say(topic)
    wait_until(lambda: gateway.get("/channels/" + channel).status_code == 200)


@pytest.mark.parametrize("channel,topic,before,command,after", [
    ("lamps/a", "z2m/a", "OFF", '{"state":"TOGGLE"}', {"state": "ON", "linkquality": 90}),
    ("lamps/b", "z2m/b", None, '{"state":"toggle","transition":2}', {"state": "ON", "linkquality": 90}),
    ("power/c", "stat/c/POWER", "ON", "TOGGLE", "OFF"),
    ("power/d", "stat/d/POWER", "ON", "", "ON"),
    ("dimmer/e", "stat/e/DIMMER", 40, "+10", 50),
    ("dimmer/f", "stat/f/DIMMER", 40, "-10", 30),
    ("shelly/g", "shellies/g/relay/0", "on", "toggle", "off"),
    ("shelly/h", "shellies/h/relay/0", "on", "status_update", "on"),
])
def test_the_device_does_it(hall, channel, topic, before, command, after):
    if before is not None:
        show(hall, channel, topic, before)
    answer = post(hall[0], channel, command)
    assert answer["status"] == "confirmed"
    shown = hall[0].get("/channels/" + channel).json()
    assert (shown["data"], shown["cursor"]) == (after, answer["cursor"])


NOTHING_NEW = [
    ("lamps/deaf1", "z2m/deaf1", "OFF", '{"state":"TOGGLE"}'),
    ("power/deaf2", "stat/deaf2/POWER", "ON", "TOGGLE"),
    ("dimmer/deaf3", "stat/deaf3/DIMMER", 40, "+10"),
    ("dimmer/full", "stat/full/DIMMER", 100, "+10"),
    ("shelly/deaf4", "shellies/deaf4/relay/0", "on", "toggle"),
    ("power/deaf5", "stat/deaf5/POWER", "ON", "BLINK"),  # which no list names
]


def test_a_device_that_reports_the_same_state_confirms_nothing(hall):
    for channel, topic, before, _ in NOTHING_NEW:
        show(hall, channel, topic, before)
    with concurrent.futures.ThreadPoolExecutor(len(NOTHING_NEW)) as pool:
        answers = list(pool.map(lambda case: post(hall[0], case[0], case[3])["status"], NOTHING_NEW))
    assert answers == ["timeout"] * len(NOTHING_NEW)


def test_a_command_that_no_list_names_has_to_be_readable(hall):
    assert post(hall[0], "dimmer/e", "fast")["code"] == "bad_request"


# --- clients that leave ------------------------------------------------------------------------------------------------

def waiting(gateway):
    return gateway.metric("sluice_confirms")


def command(gateway, version="1.1", more="", channel="slow/a"):
    """A POST that is going to wait for a minute."""
    one = socket.create_connection(("127.0.0.1", gateway.port))
    one.sendall((f"POST /channels/{channel}?confirm=true HTTP/{version}\r\nHost: h\r\n{more}Content-Length: 2\r\n\r\non").encode())
    wait_until(lambda: waiting(gateway) == 1)
    return one


@pytest.mark.parametrize("abort", [False, True])
def test_a_client_that_closes_its_connection_frees_its_place(hall, abort):
    one = command(hall[0])
    if abort:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
    wait_until(lambda: waiting(hall[0]) == 0)


def test_a_client_that_waits_in_vain_frees_its_place(hall):
    begun = time.monotonic()
    with pytest.raises(requests.exceptions.Timeout):
        requests.post(f"{hall[0].http}/channels/slow/b?confirm=true", data="on", timeout=0.3)
    wait_until(lambda: waiting(hall[0]) == 0)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_ends_only_its_side_gets_its_answer(hall, version):
    gateway, devices = hall
    one = command(gateway, version, "Connection: close\r\n", "slow/" + version)
    one.shutdown(socket.SHUT_WR)
    if version == "1.1":
        assert one.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    devices.client.publish("slow/" + version, "on", 1)
    answer = b"".join(iter(lambda: one.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"confirmed"' in answer
    one.close()
    assert waiting(gateway) == 0


def test_numbers_by_route(hall):
    gateway, _ = hall
    labels = '{route="stat/{id}/POWER",channel="power/{id}"} '

    def count(name):
        line = next(line for line in gateway.get("/metrics").text.splitlines() if line.startswith(f"sluice_route_{name}{labels}"))
        return int(line.split()[-1])
    before = count("confirmed_total"), count("confirm_timeouts_total")
    show(hall, "power/deaf9", "stat/deaf9/POWER", "ON")
    assert post(gateway, "power/m", "TOGGLE")["status"] == "confirmed"
    assert post(gateway, "power/deaf9", "TOGGLE")["status"] == "timeout"
    assert (count("confirmed_total"), count("confirm_timeouts_total")) == (before[0] + 1, before[1] + 1)
