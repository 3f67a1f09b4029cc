"""MQTT 5 request/response over /ws and POST, answered by a device on a stock MQTT client."""
import asyncio
import concurrent.futures
import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest
import requests
from conftest import yaml
from harness import wait_until
from lamps import version
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from wsclient import connect

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: lamps/{id}
    publish: { topic: "lamps/{id}/set" }
  - topic: plain/{id}
    publish: { topic: "plain/{id}/set", qos: 0 }
  - topic: kept/{id}
    publish: { topic: "kept/{id}/set", qos: 2, retain: true }
  - topic: number/{id}
    codec: number
    publish: { topic: "number/{id}/set" }
  - topic: denied/{id}
    publish: {}
  - topic: read/{id}
  - topic: "#"
"""


class Device:
    """Answers every request on +/+/set: a member `late` waits so many seconds, `twice` answers twice, `mute` not at all."""

    def __init__(self, port):
        self.client = mqtt.Client(client_id="", protocol=mqtt.MQTTv5, **version())
        self.seen = []
        ready = threading.Event()
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe(
            [("lamps/+/set", 2), ("plain/+/set", 2), ("kept/+/set", 2), ("number/+/set", 2)])
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert ready.wait(10)

    def on_message(self, client, _data, message):
        self.seen.append(message)
        if not hasattr(message.properties, "CorrelationData"):
            return  # a command, not a request
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
        topic = message.properties.ResponseTopic
        try:
            ask = json.loads(message.payload)
        except ValueError:
            ask = message.payload.decode()
        answer = json.dumps({"topic": message.topic, "asked": ask})
        how = ask if isinstance(ask, dict) else {}
        if how.get("mute"):
            return
        if how.get("empty"):
            answer = ""
        if "late" in how:
            timer = threading.Timer(how["late"], client.publish, (topic, answer, 1, False, properties))
            timer.daemon = True
            timer.start()
            return
        for _ in range(2 if how.get("twice") else 1):
            client.publish(topic, answer, 1, False, properties)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def sluice(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 2\n"))


@pytest.fixture(scope="module")
def device(shared):
    it = Device(shared.main_broker.port)
    yield it
    it.close()


def metric(sluice, name):
    return int(next(l for l in sluice.get("/metrics").text.splitlines() if l.startswith(name + " ")).split()[1])


async def ask(ws, id, channel, data, **more):
    await ws.send(type="request", id=id, channel=channel, data=data, **more)
    return await ws.recv()


async def test_request_over_websocket(sluice, device):
    async with connect(sluice) as ws:
        for id, channel in [(4, "lamps/1"), ("four", "plain/1"), (5, "kept/1")]:
            answer = await ask(ws, id, channel, {"state": "ON"})
            assert answer == {"type": "response", "id": id,
                              "data": {"topic": channel + "/set", "asked": {"state": "ON"}}}
        assert not device.seen[-1].retain
        answer = await ask(ws, 6, "number/1", 7)  # an answer need not be a number
        assert answer["data"] == {"topic": "number/1/set", "asked": 7}
        assert (await ask(ws, 7, "lamps/1", {"empty": True}))["data"] is None
        await ws.quiet()


async def test_many_in_flight_and_out_of_order(sluice, device):
    async with connect(sluice) as ws:
        for i in range(50):
            await ws.send(type="request", id=i, channel=f"lamps/{i}", data={"late": 0.5 - i / 100})
        answers = [await ws.recv() for _ in range(50)]
        assert all(a["type"] == "response" and a["data"]["topic"] == f"lamps/{a['id']}/set" for a in answers)
        assert sorted(a["id"] for a in answers) == list(range(50)) and [a["id"] for a in answers] != list(range(50))


async def test_timeout_and_late_answers(sluice, device):
    late = metric(sluice, "sluice_responses_late_total")
    async with connect(sluice) as ws:
        started = time.monotonic()
        answer = await ask(ws, 1, "lamps/1", {"late": 1}, timeout=300)
        assert answer["type"] == "error" and answer["code"] == "timeout" and answer["id"] == 1
        assert 0.2 < time.monotonic() - started < 0.9
        wait_until(lambda: metric(sluice, "sluice_responses_late_total") == late + 1)
        assert (await ask(ws, 2, "lamps/1", {"twice": True}))["id"] == 2
        wait_until(lambda: metric(sluice, "sluice_responses_late_total") == late + 2)
        await ws.quiet()
        # Whoever leaves does not get it, and nobody else does.
        await ws.send(type="request", id=3, channel="lamps/1", data={"late": 0.2})
        await ws.quiet()
    wait_until(lambda: metric(sluice, "sluice_responses_late_total") == late + 3)


async def test_refusals(sluice, device):
    async with connect(sluice) as ws:
        for channel, data, more, code in [
                ("read/1", 1, {}, "forbidden"), ("lamps/+", 1, {}, "bad_request"), ("number/1", "x", {}, "bad_request"),
                ("denied/1", 1, {}, "forbidden"), ("lamps/1", 1, {"timeout": 0}, "bad_request"),
                ("lamps/1", 1, {"timeout": "5s"}, "bad_request"), ("lamps/1", 1, {"timeout": 1e9}, "bad_request")]:
            answer = await ask(ws, 1, channel, data, **more)
            assert (answer["type"], answer["code"], answer["id"]) == ("error", code, 1), (channel, answer)
        await ws.send(type="request", id=1, channel="lamps/1")
        assert (await ws.recv())["code"] == "bad_request"


async def test_nobody_listens(world):
    routes = ROUTES.replace('  - topic: "#"\n', "") + '  - topic: nobody/{id}\n    publish: { topic: "nobody/{id}/set" }\n'
    other = world.sluice(yaml(world.broker().port, routes))
    async with connect(other) as ws:
        started = time.monotonic()
        answer = await ask(ws, 1, "nobody/1", 1)
        assert answer["code"] == "no_responder" and time.monotonic() - started < 2
    answer = requests.post(other.http + "/channels/nobody/1?reply=5s", data="1", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (502, "no_responder")


def test_request_over_http(sluice, device):
    answer = requests.post(sluice.http + "/channels/lamps/1?reply=5s", data='{"a":1}', timeout=10)
    assert (answer.status_code, answer.json()) == (
        200, {"status": "response", "data": {"topic": "lamps/1/set", "asked": {"a": 1}}})
    answer = requests.post(sluice.http + "/channels/lamps/1?reply=200ms", data='{"mute":true}', timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    for reply in ("", "5", "-1s", "0s", "10m", "x"):
        answer = requests.post(sluice.http + "/channels/lamps/1?reply=" + reply, data="1", timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: requests.post(f"{sluice.http}/channels/lamps/{i}?reply=10s", timeout=20,
                                                        data=json.dumps({"late": (i % 5) / 20})).json(), range(64)))
    assert [a["data"]["topic"] for a in answers] == [f"lamps/{i}/set" for i in range(64)]


def test_as_json_is_what_the_websocket_takes(sluice, device):
    for body, payload in [('"ON"', b"ON"), ('{"a": 1}', b'{"a": 1}'), (" null ", b""), ('{"base64":"AP8="}', b"\x00\xff")]:
        answer = requests.post(sluice.http + "/channels/lamps/json?as=json", data=body, timeout=10)
        assert answer.json() == {"status": "published"}
        wait_until(lambda: payload in [m.payload for m in device.seen if m.topic == "lamps/json/set"])
    answer = requests.post(sluice.http + "/channels/lamps/json?as=json", data="ON", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    answer = requests.post(sluice.http + "/channels/lamps/json?as=xml", data="1", timeout=10)
    assert answer.status_code == 400


def test_answers_are_not_messages(sluice, device, client):
    """The route `#` does not show the response topic, and what nobody asked for is dropped and counted."""
    requests.post(sluice.http + "/channels/lamps/1?reply=5s", data="1", timeout=10).json()
    topic = device.seen[-1].properties.ResponseTopic
    assert sluice.get("/channels/" + topic).status_code == 404
    unknown = metric(sluice, "sluice_mqtt_responses_unknown_total")
    client.publish(topic, "unasked", qos=1)
    wait_until(lambda: metric(sluice, "sluice_mqtt_responses_unknown_total") == unknown + 1)
    assert sluice.get("/channels/" + topic).status_code == 404


async def test_the_answer_finds_its_way_after_a_reconnect(world):
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, ROUTES.replace('  - topic: "#"\n', "")))
    device = Device(broker.port)
    async with connect(sluice) as ws:
        assert (await ask(ws, 1, "lamps/1", 1))["type"] == "response"
        broker.kill()
        assert (await ws.recv())["state"] == "down"
        assert (await ask(ws, 2, "lamps/1", 2))["code"] == "upstream_down"
        broker.start()
        assert (await ws.recv(20))["state"] == "up"
        for id in range(3, 40):  # the device may be back later than the gateway
            answer = await ask(ws, id, "lamps/1", 3, timeout=1000)
            if answer["type"] == "response":
                break
            assert answer["code"] in ("no_responder", "timeout")
            await asyncio.sleep(0.1)
        assert answer["type"] == "response"
    device.close()


async def test_not_over_mqtt_3(world):
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, ROUTES, broker="  protocol: 3.1.1\n"))
    async with connect(sluice) as ws:
        assert (await ask(ws, 1, "lamps/1", 1))["code"] == "unsupported"
    answer = requests.post(sluice.http + "/channels/lamps/1?reply=5s", data="1", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")


async def test_a_broker_that_forbids_the_response_topic(world):
    acl = world.directory / "acl"
    acl.write_text("topic readwrite #\ntopic deny sluice/#\n")
    broker = world.broker(config=f"allow_anonymous true\nacl_file {acl}\n")
    sluice = world.sluice(yaml(broker.port, ROUTES.replace('  - topic: "#"\n', "")))
    device = Device(broker.port)
    async with connect(sluice) as ws:
        answer = await ask(ws, 1, "lamps/1", 1, timeout=500)
        assert answer["type"] == "error"
        # mosquitto grants the subscription and drops what comes, or refuses it; either way nothing hangs.
        answer = await ask(ws, 2, "lamps/1", 1, timeout=500)
        assert answer["code"] in ("forbidden", "timeout")
    device.close()
