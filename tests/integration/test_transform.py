"""A route with a transform: one payload, several channels (issue: The house shows its plan, transforms)."""
import asyncio
import json

import pytest
import requests
import websockets
from conftest import yaml
from harness import wait_until
from wsclient import connect

ROUTES = """
  - topic: sensors/{device}
    channel: sensors/{device}/{member}
    codec: lenient
    transform: split
    history: { count: 100 }
    publish: { topic: "sensors/{device}/set" }
  - topic: tele/{device}/SENSOR
    channel: tele/{device}/{member...}
    transform: { split: { members: [Time, ENERGY/Power, ENERGY/Total], depth: 2 } }
  - topic: plain/{device}
"""


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="limits: { payload_messages: 50 }"))


@pytest.fixture(scope="module")
def device(shared):
    return shared.mqtt(shared.main_broker.port, subscribe=["sensors/+/set"])


def last(gateway, channel):
    answer = wait_until(lambda: (lambda a: a.status_code == 200 and a)(gateway.get(f"/channels/{channel}")))
    return answer.json()["data"]


def test_members_are_channels(gateway, device):
    async def run():
        async with connect(gateway) as ws:
            await ws.subscribe("sensors/kitchen/+")
            device.publish("sensors/kitchen", b'{"temp":21.50,"hum":nan,"state":"ON"}')
            messages = [await ws.until("message") for _ in range(3)]
            assert [(m["channel"], m["data"]) for m in messages] == [
                ("sensors/kitchen/temp", 21.5), ("sensors/kitchen/hum", None), ("sensors/kitchen/state", "ON")]
            numbers = [int(m["cursor"].rsplit(".", 1)[1]) for m in messages]
            assert numbers == list(range(numbers[0], numbers[0] + 3))  # each has its own place in the sequence
            # A resume from the first of them brings the other two, and nothing twice.
            async with connect(gateway) as other:
                assert (await other.subscribe("sensors/kitchen/#", cursor=messages[0]["cursor"]))["recovered"] is True
                again = [await other.until("message") for _ in range(2)]
                assert [m["cursor"] for m in again] == [m["cursor"] for m in messages[1:]]
                await other.quiet()
    asyncio.run(run())
    assert last(gateway, "sensors/kitchen/temp") == 21.5
    assert gateway.get("/channels/sensors/kitchen").json()["code"] == "unknown_channel"


def test_retained_again_is_no_news_for_any_member(world):
    broker = world.broker(config="allow_anonymous true\npersistence true\npersistence_location " + str(world.directory) + "/")
    device = world.mqtt(broker.port)
    device.publish("sensors/x", b'{"a":1,"b":2}', retain=True)
    gateway = world.sluice(yaml(broker.port, ROUTES))
    assert (last(gateway, "sensors/x/a"), last(gateway, "sensors/x/b")) == (1, 2)
    before = gateway.get("/channels/sensors/x/b").json()["cursor"]
    broker.end(politely=True)
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    broker.start()
    gateway.wait_ready()
    other = world.mqtt(broker.port)
    other.publish("sensors/x", b'{"c":3}')
    assert last(gateway, "sensors/x/c") == 3
    assert gateway.get("/channels/sensors/x/b").json()["cursor"] == before
    assert len(gateway.get("/channels/sensors/x/a/history").json()["messages"]) == 1


def test_raw_socket_gets_one_member(gateway, device):
    device.publish("sensors/raw", b'{"temp":1,"hum":2}')
    assert last(gateway, "sensors/raw/hum") == 2

    async def run():
        async with websockets.connect(gateway.ws + "/channels/sensors/raw/hum") as socket:
            assert json.loads(await asyncio.wait_for(socket.recv(), 10)) == 2
            device.publish("sensors/raw", b'{"temp":3}')
            device.publish("sensors/raw", b'{"temp":4,"hum":5}')
            assert json.loads(await asyncio.wait_for(socket.recv(), 10)) == 5
    asyncio.run(run())


def test_nested_members_and_clearing(gateway, device):
    device.publish("tele/plug/SENSOR", b'{"Time":"12:00","ENERGY":{"Power":12,"Total":3.5,"Voltage":230}}')
    assert last(gateway, "tele/plug/ENERGY/Total") == 3.5
    listed = gateway.get("/channels?filter=tele/plug/%23").json()["channels"]
    assert sorted(entry["channel"] for entry in listed) == ["tele/plug/ENERGY/Power", "tele/plug/ENERGY/Total", "tele/plug/Time"]
    device.publish("tele/plug/SENSOR", b"")
    for channel in ("Time", "ENERGY/Power", "ENERGY/Total"):
        wait_until(lambda: gateway.get(f"/channels/tele/plug/{channel}").status_code == 404)


@pytest.mark.parametrize("payload,said", [
    (b"[1]", "it is not a JSON object"),
    (b'{"a":', "the text is cut off at byte 6"),
    (b"", "an empty payload clears only channels that the option members names"),
])
def test_what_is_no_object_is_named(world, payload, said):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))
    world.mqtt(broker.port).publish("sensors/x", payload)
    wait_until(lambda: "'sensors/x': transform split says " in gateway.text() and said in gateway.text())
    assert gateway.metric("sluice_mqtt_codec_dropped_total") == 1


def test_bad_names_and_too_many(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES, extra="limits: { payload_messages: 50 }"))
    device = world.mqtt(broker.port)
    device.publish("sensors/x", b'{"a/b":1,"#":2,"good":3}')
    assert last(gateway, "sensors/x/good") == 3
    wait_until(lambda: "a name in the payload fits into no channel of the route" in gateway.text())
    device.publish("sensors/many", json.dumps({f"m{i}": i for i in range(1000)}).encode())
    device.publish("plain/after", b"1")
    last(gateway, "plain/after")
    assert last(gateway, "sensors/many/m49") == 49
    assert gateway.get("/channels/sensors/many/m50").json()["code"] == "no_value"
    assert gateway.metric("sluice_mqtt_codec_dropped_total") == 3


def test_publishing_puts_it_together(gateway, device):
    answer = gateway.post("/channels/sensors/lamp/brightness", b"128")
    assert (answer.status_code, answer.json()["status"]) == (200, "published")
    wait_until(lambda: device.payloads("sensors/lamp/set") == [b'{"brightness":128}'])
    answer = gateway.post("/channels/sensors/lamp/state", b"{'nonsense")
    assert (answer.status_code, answer.json()["code"]) == (400, "not_json")

    async def run():
        async with connect(gateway) as ws:
            assert (await ws.publish("sensors/lamp/state", "ON"))["type"] == "published"
            assert (await ws.publish("sensors/lamp/state", None))["type"] == "published"
            assert (await ws.publish("tele/plug/Time", 1))["code"] == "forbidden"
    asyncio.run(run())
    wait_until(lambda: device.payloads("sensors/lamp/set")[1:] == [b'{"state":"ON"}', b'{"state":null}'])


def test_explain_and_reload(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))
    routes = requests.get(gateway.http + "/explain?channel=sensors/x/temp").json()
    assert routes["routes"][0]["transform"] == "split" and "transform: split" in routes["text"]
    device = world.mqtt(broker.port)
    device.publish("sensors/x", b'{"a":1}')
    assert last(gateway, "sensors/x/a") == 1
    gateway.config.write_text(yaml(broker.port, ROUTES.replace("transform: split\n", "transform: { split: { members: b } }\n")))
    gateway.signal(1)
    attempt = iter(range(1000))

    def in_force():  # a moment after the line in the log: then only b is a message
        number = next(attempt)
        device.publish("sensors/x", json.dumps({f"n{number}": 1, "b": number}).encode())
        wait_until(lambda: gateway.get("/channels/sensors/x/b").json().get("data") == number)
        return gateway.get(f"/channels/sensors/x/n{number}").status_code == 404
    wait_until(in_force)
    device.publish("sensors/x", b'{"a":2,"b":"last"}')
    wait_until(lambda: last(gateway, "sensors/x/b") == "last")
    assert last(gateway, "sensors/x/a") == 1
