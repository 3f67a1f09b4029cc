"""Payloads as devices send them: what is wrong with one is named, `lenient` takes it, and `null` is not the empty payload
(issue: In the field, D3, E1 and E4)."""
import asyncio
import json
import re

import pytest
import websockets
from conftest import yaml
from harness import wait_until
from wsclient import connect

ROUTES = """
  - { topic: json/#, codec: json, publish: {} }
  - { topic: json2/#, codec: json }
  - { topic: lenient/#, codec: lenient, publish: {} }
  - { topic: auto/#, publish: { retain: true } }
  - { topic: text/#, codec: text, publish: { retain: true } }
  - { topic: number/#, codec: number, publish: { retain: true } }
  - { topic: base64/#, codec: base64, publish: { retain: true } }
"""


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES))


@pytest.fixture(scope="module")
def device(shared):
    return shared.mqtt(shared.main_broker.port, subscribe=["lenient/up", "auto/up", "auto/null", "text/null", "json/null", "base64/null"])


NULL = object()  # null is what was meant

# What was reported, in our words; the byte where it fails; what `lenient` makes of it (docs/field.md).
REPORTS = [
    ("Tasmota#4147", b'{"temperature":nan,"humidity":40}', "NaN at byte 16", {"temperature": None, "humidity": 40}),
    ("dz#145", b'{"type":"sensor","signal":NaN,"device_id":"ESP8266"}', "NaN at byte 27",
     {"type": "sensor", "signal": None, "device_id": "ESP8266"}),
    ("ESPresense#1038", b'{"distance":inf,"var":nan}', "infinity at byte 13", {"distance": None, "var": None}),
    ("ioBroker.sonoff#65", b'{"SI7021-00":{"Temperature":17.1},"SI7021-02":{"Temperature":nan,"Humidity":nan}}', "NaN at byte 62",
     {"SI7021-00": {"Temperature": 17.1}, "SI7021-02": {"Temperature": None, "Humidity": None}}),
    ("home-assistant#42393", b"{'connected': True, 'hum': 66.5, 'temp': None}", "a single quote at byte 2",
     {"connected": True, "hum": 66.5, "temp": None}),
    ("zigbee2mqtt.io#910", b'{ "on": "on", "brightness": 500, }', "nothing follows the last comma before the bracket at byte 34",
     {"on": "on", "brightness": 500}),
    ("node-red#3071", b'{"OtaUrl":"http://ota/minimal.bin.gz\t","Uptime":1}', "a control character inside of a text at byte 37",
     {"OtaUrl": "http://ota/minimal.bin.gz\t", "Uptime": 1}),
    ("homebridge-z2m#604", b'{"battery":0,"humidity":61,13,"pressure":1008,7}', "a number where a name belongs at byte 28", None),
    ("hirotakaster/MQTT#89", b'{"name":"Outside","device_class":"temp', "the text is cut off at byte 39", None),
    ("matterbridge-zigbee2mqtt#16", b"offline", "a word at byte 1 has no double quotes", None),
    ("evcc#12805", b"(null)", "a word for nothing at byte 1", NULL),
    ("ArduinoMqttClient#89", b'null3\xa4Hoechst/json{"clock":"22/06"}', "a word at byte 1", None),
    ("strlen() + 1", b'{"a":1}\0', "a NUL at byte 8 behind the end", {"a": 1}),
    ("sizeof(buffer)", b'{"a":1}\0\0:2,"old":3}', "a NUL at byte 8 behind the end", {"a": 1}),
    ("a byte order mark", b'\xef\xbb\xbf{"a":1}', "a byte order mark at byte 1", {"a": 1}),
    ("Latin-1", b'{"unit":"\xb0C"}', "a byte that is not UTF-8 at byte 10", {"unit": "°C"}),
    ("JavaScript", b"{temp: 1, /* C */ hum: undefined}", "a member's name at byte 2 has no double quotes", {"temp": 1, "hum": None}),
    ("printf", b'{"a":007,"b":+1,"c":.5,"d":5.,"e":0x1f}', "a number at byte 6 has leading zeros",
     {"a": 7, "b": 1, "c": 0.5, "d": 5, "e": 31}),
    ("a String that is empty", b'{"temp":,"hum":40}', "a value is missing at byte 9", {"temp": None, "hum": 40}),
    ("two at once", b'{"a":1}\n{"a":2}', "a second value begins at byte 9", None),
    ("UTF-16", '{"a":1}'.encode("utf-16-le"), "UTF-16 at byte 1", None),
    ("shell", b'{\\"a\\":1}', "a backslash before a quote at byte 2", None),
    ("blanks", b"  ", "nothing but blanks or NULs at byte 3", None),
    ("gzip", b"\x1f\x8b\x08\x00", "a gzip file at byte 1", None),
    ("deep", b"[" * 513 + b"]" * 513, "a bracket at byte 513 opens level 513", None),
]


@pytest.mark.parametrize("report,payload,said,meant", REPORTS, ids=[row[0] for row in REPORTS])
def test_reports(world, report, payload, said, meant):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))
    device = world.mqtt(broker.port)
    device.publish("json/d", payload)
    device.publish("lenient/d", payload)
    line = wait_until(lambda: [line for line in gateway.text().splitlines() if "dropped a payload" in line and "codec json" in line])[0]
    assert f"dropped a payload of {len(payload)} bytes on 'json/d': codec json says not_json: {said}" in line, line
    assert ("codec: lenient takes it" in line) == (meant is not None)
    assert gateway.get("/channels/json/d").json()["code"] == "no_value"
    if meant is None:
        wait_until(lambda: "on 'lenient/d': codec lenient says not_json: " in gateway.text())
        return
    meant = None if meant is NULL else meant
    answer = wait_until(lambda: (lambda a: a.status_code == 200 and a)(gateway.get("/channels/lenient/d")))
    assert answer.json()["data"] == meant
    assert "lenient/d" not in gateway.text()

    async def raw():
        async with websockets.connect(gateway.ws + "/channels/lenient/d") as socket:
            return await asyncio.wait_for(socket.recv(), 10)
    assert json.loads(asyncio.run(raw())) == meant  # raw sockets get JSON as well


def test_one_noisy_route_does_not_silence_another(gateway, device):
    def both():
        for _ in range(20):
            device.publish("json/noise", "{")
        device.publish("json2/noise", "{")
        return "'json2/noise'" in gateway.text()
    wait_until(both)


def test_number_says_the_byte(gateway, device):
    device.publish("number/x", "21,5")
    wait_until(lambda: "codec number says bad_request: ',' at byte 3 belongs to no number" in gateway.text())


@pytest.mark.parametrize("payload", [b'{"a":nan}', b"{'a':1}", b'{"a":1}\0', b"ON"])
def test_clients_are_not_forgiven(gateway, device, payload):
    """What a client publishes stays strict, by POST, on a raw socket and as data."""
    answer = gateway.post("/channels/lenient/up", payload)
    assert (answer.status_code, answer.json()["code"]) == (400, "not_json")

    async def raw():
        async with websockets.connect(gateway.ws + "/channels/lenient/up") as socket:
            await socket.send(payload)
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await asyncio.wait_for(socket.recv(), 10)
            return socket.close_code
    assert asyncio.run(raw()) == 1008
    assert gateway.post("/channels/lenient/up", b'{"a":1}').status_code == 200
    wait_until(lambda: device.payloads("lenient/up"))
    assert set(device.payloads("lenient/up")) == {b'{"a":1}'}


# --- null and the empty payload ---------------------------------------------------------------------------------------

# codec, a value, `data` of the payload null (False: it is dropped), what the word null must be published as
NULLS = [
    ("auto", b"5", None, b"null"),
    ("json", b"5", None, b"null"),
    ("lenient", b"5", None, b"null"),
    ("text", b"5", "null", b"null"),
    ("base64", b"5", "bnVsbA==", b"null"),
    ("number", b"5", False, None),
]


@pytest.mark.parametrize("codec,value,data,_published", NULLS, ids=[row[0] for row in NULLS])
def test_null_is_a_value_and_empty_is_none(gateway, device, codec, value, data, _published):
    channel = f"{codec}/null"

    async def run():
        async with connect(gateway) as ws:
            await ws.subscribe(channel)
            device.publish(channel, value)
            assert "cleared" not in await ws.until("message")
            device.publish(channel, b"null")
            if data is not False:
                message = await ws.until("message")
                assert message["data"] == data and "cleared" not in message
                assert gateway.get(f"/channels/{channel}").json()["data"] == data  # it is the last value
            device.publish(channel, b"")
            message = await ws.until("message")
            assert message["data"] is None and message["cleared"] is True
            assert gateway.get(f"/channels/{channel}").json()["code"] == "no_value"
        async with connect(gateway) as ws:  # nothing is left of it for a new subscriber
            await ws.subscribe(channel)
            await ws.quiet()
    asyncio.run(run())
    history = gateway.get(f"/channels/{channel}/history?limit=1").json()["messages"]
    assert [(m["data"], m["cleared"]) for m in history] == [(None, True)]


@pytest.mark.parametrize("codec", ["auto", "text", "base64", "number"])
def test_data_null_is_the_empty_payload(gateway, device, codec):
    """It clears what the broker has stored; whoever wants the four letters posts them."""
    channel = f"{codec}/up-{codec}"
    probe = {"number": 5, "base64": "NQ=="}.get(codec, "5")

    async def run():
        async with connect(gateway) as ws:
            await ws.subscribe(channel)
            await ws.send(type="publish", id=1, channel=channel, data=probe)
            frames = {frame["type"]: frame for frame in [await ws.recv(), await ws.recv()]}
            assert set(frames) == {"published", "message"}
            await ws.send(type="publish", id=2, channel=channel, data=None)
            frames = {frame["type"]: frame for frame in [await ws.recv(), await ws.recv()]}
            assert frames["message"]["cleared"] is True
    asyncio.run(run())
    assert gateway.get(f"/channels/{channel}").json()["code"] == "no_value"


def test_the_word_null_can_be_posted(gateway, device):
    assert gateway.post("/channels/auto/null", b"null").status_code == 200
    wait_until(lambda: device.payloads("auto/null")[-1:] == [b"null"])
    assert wait_until(lambda: gateway.get("/channels/auto/null").json().get("code") is None)
    assert gateway.get("/channels/auto/null").json()["data"] is None
    assert gateway.post("/channels/auto/null?as=json", b"null").status_code == 200  # as data of /ws: the empty payload
    wait_until(lambda: gateway.get("/channels/auto/null").status_code == 404)


def test_sse_and_poll_say_cleared(gateway, device):
    cursor = gateway.get("/poll?channel=auto/both&wait=0").headers["Sluice-Cursor"]
    device.publish("auto/both", b"1")
    device.publish("auto/both", b"")
    wait_until(lambda: len(gateway.get("/channels/auto/both/history").json()["messages"]) == 2)
    messages = gateway.get("/poll", params={"channel": "auto/both", "cursor": cursor}).json()["messages"]
    assert [(m["data"], m.get("cleared")) for m in messages] == [(1, None), (None, True)]
    with gateway.get("/sse", params={"channel": "auto/both", "cursor": cursor}, stream=True) as answer:
        text = ""
        for part in answer.iter_content(None):
            text += part.decode()
            if "cleared" in text:
                break
    assert re.search(r'"data":null,"cursor":"[^"]+","ts":\d+,"cleared":true}\n\n', text)
