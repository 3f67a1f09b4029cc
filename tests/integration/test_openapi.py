"""client/api/openapi.json and asyncapi.json against running gateways: every path, method and status is called, and every frame
is sent or comes, and each body is as it is described there."""
import asyncio
import hashlib
import json
import re

import jsonschema
import pytest
import requests
import websockets
from harness import ROOT, wait_until

OPENAPI = json.loads((ROOT / "client/api/openapi.json").read_text())
ASYNCAPI = json.loads((ROOT / "client/api/asyncapi.json").read_text())
KEYS = {name: f"a-key-for-the-description-{name}-{name}" for name in ("all", "little")}
AUTH = "auth:\n  api_keys:\n" + "".join(f"    - {{ name: {name}, hash: 'sha256:{hashlib.sha256(key.encode()).hexdigest()}', roles: [{name}] }}\n"
                                        for name, key in KEYS.items()) + """roles:
  all: { subscribe: "#", publish: "#" }
  little: { subscribe: little/#, publish: little/# }
"""
ROUTES = """routes:
  - { topic: "lamps/{id}", codec: json, publish: { topic: "lamps/{id}/set" } }
  - { topic: quick/#, publish: { qos: 0 } }
  - { topic: read/# }
  - { topic: echo/#, publish: { confirm: true } }
  - { topic: "deaf/{id}", publish: { topic: "echo/deaf/{id}", confirm: { within: 50ms } } }
  - { topic: little/# }
limits: { frame: 2KiB }
"""


def described(document, schema):
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


class Api:
    """Calls what is described, and keeps which of it was."""

    def __init__(self):
        self.seen = set()

    def __call__(self, gateway, method, path, status, key="all", name=None, more={}, **kwargs):
        operation = OPENAPI["paths"][path][method]
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more}
        where = path.replace("{name}", requests.utils.quote(name or "", safe=""))
        query = {item["name"] if "name" in item else OPENAPI["components"]["parameters"][item["$ref"].rsplit("/", 1)[1]]["name"]
                 for item in operation.get("parameters", [])}
        assert {*kwargs.get("params", {}), *more} <= query, "a parameter that is not described"
        with requests.request(method, gateway.http + where, headers=headers, timeout=30, stream=True, **kwargs) as answer:
            assert answer.status_code == status, (method, path, answer.status_code)
            (content, schema), = operation["responses"][str(status)].get("content", {"": {}}).items()
            assert answer.headers.get("Content-Type", "").split(";")[0] == content
            body = next(answer.iter_content(65536), b"") if content == "text/event-stream" else answer.content
            if content == "application/json":
                described(OPENAPI, schema["schema"]).validate(json.loads(body))
            for header, about in operation["responses"][str(status)].get("headers", {}).items():
                described(OPENAPI, about["schema"]).validate(answer.headers[header])
        self.seen.add((method, path, str(status)))
        return body


def test_every_path_and_status(world):
    api = Api()
    broker = world.broker()
    top = f"broker: {{ url: mqtt://127.0.0.1:{broker.port} }}\nlisten: [{{ address: 127.0.0.1:0 }}]\n{ROUTES}"
    gateway = world.sluice(top.replace("limits:", AUTH + "limits:"))
    key, little = KEYS["all"], KEYS["little"]
    device = world.mqtt(broker.port)
    device.publish("lamps/1", '{"state":"ON"}', retain=True)
    device.publish("lamps/1", '{"state":"OFF"}', retain=True)
    wait_until(lambda: requests.get(gateway.http + "/channels/lamps/1", headers={"Authorization": f"Bearer {key}"}, timeout=5).json().get("data") == {"state": "OFF"})

    api(gateway, "get", "/channels", 200, key, params={"filter": "lamps/+"})
    api(gateway, "get", "/channels", 400, key, params={"filter": "a/#/b"})
    api(gateway, "get", "/channels", 401, "wrong")
    for where in ("/channels/{name}", "/channels/{name}/history"):
        api(gateway, "get", where, 200, key, name="lamps/1")
        api(gateway, "get", where, 404, key, name="nowhere")
    api(gateway, "get", "/channels/{name}", 400, key, name="lamps/+")
    api(gateway, "get", "/channels/{name}", 401, "wrong", name="lamps/1")
    api(gateway, "get", "/channels/{name}", 403, little, name="lamps/1")
    api(gateway, "get", "/channels/{name}/history", 400, key, name="lamps/1", params={"cursor": "none"})

    raw = "/channels/{name}/raw"
    device.publish("read/raw", b"\xff\x00payload")
    wait_until(lambda: requests.get(gateway.http + "/channels/read/raw/raw", headers={"Authorization": f"Bearer {key}"}, timeout=5).status_code == 200)
    assert api(gateway, "get", raw, 200, key, name="read/raw") == b"\xff\x00payload"
    assert api(gateway, "get", raw, 206, key, name="read/raw", more={"Range": "bytes=0-1"}) == b"\xff\x00"
    api(gateway, "get", raw, 304, key, name="read/raw", more={"If-None-Match": "*"})
    api(gateway, "get", raw, 400, key, name="read/raw", params={"stream": "mjpeg"})
    api(gateway, "get", raw, 401, "wrong", name="read/raw")
    api(gateway, "get", raw, 403, little, name="read/raw")
    api(gateway, "get", raw, 404, key, name="nowhere")
    api(gateway, "get", raw, 416, key, name="read/raw", more={"Range": "bytes=99-"})

    api(gateway, "post", "/channels/{name}", 200, key, name="lamps/1", data='{"state":"ON"}', params={"as": "json"})
    api(gateway, "post", "/channels/{name}", 202, key, name="quick/1", data="1")
    for channel, status in (("echo/1", 200), ("deaf/1", 202)):
        said = api(gateway, "post", "/channels/{name}", status, key, name=channel, data="1", params={"confirm": "true"}, more={"Idempotency-Key": "one"})
        assert json.loads(said)["status"] == {200: "confirmed", 202: "timeout"}[status]
    api(gateway, "post", "/channels/{name}", 400, key, name="lamps/1", data="{")
    api(gateway, "post", "/channels/{name}", 401, "wrong", name="lamps/1", data="1")
    api(gateway, "post", "/channels/{name}", 403, key, name="read/1", data="1")
    api(gateway, "post", "/channels/{name}", 404, key, name="nowhere", data="1")
    api(gateway, "post", "/channels/{name}", 413, key, name="quick/1", data="x" * 4000)

    series = {"field": "/state", "from": "-1h", "to": "now", "points": "10"}
    api(gateway, "get", "/channels/{name}/series", 200, key, name="lamps/1", params=series)
    api(gateway, "get", "/channels/{name}/series", 400, key, name="lamps/1", params={"field": "state"})
    api(gateway, "get", "/channels/{name}/series", 403, little, name="lamps/1")
    api(gateway, "get", "/channels/{name}/series", 404, key, name="nowhere")

    for where in ("/poll", "/sse"):
        api(gateway, "get", where, 200, key, params={"channel": ["lamps/+", "read/#"], "cursor": "last"})
        api(gateway, "get", where, 400, key)
        api(gateway, "get", where, 401, "wrong", params={"channel": "lamps/1"})
        api(gateway, "get", where, 403, little, params={"channel": "lamps/1"})
        api(gateway, "get", where, 404, key, params={"channel": "nowhere"})
    api(gateway, "get", "/poll", 204, key, params={"channel": "read/1", "wait": "0"})
    api(gateway, "get", "/explain", 200, key, params={"channel": "lamps/1"})
    api(gateway, "get", "/explain", 200, key)
    api(gateway, "get", "/explain", 403, little)
    api(gateway, "post", "/ticket", 200, key)
    api(gateway, "post", "/ticket", 401, "wrong")
    for path in ("/healthz", "/readyz", "/metrics"):
        api(gateway, "get", path, 200)

    open_gateway = world.sluice(top)
    api(open_gateway, "post", "/ticket", 404, None)
    broker.end()
    wait_until(lambda: requests.get(open_gateway.http + "/readyz", timeout=5).status_code == 503)
    api(open_gateway, "get", "/readyz", 503)
    api(open_gateway, "post", "/channels/{name}", 503, None, name="lamps/1", data="{}")

    promised = {(method, path, status) for path, methods in OPENAPI["paths"].items() for method, operation in methods.items()
                for status in operation["responses"] if status != "default"}
    assert api.seen == promised


def test_the_gateway_serves_both_files(sluice):
    for name, document in (("openapi", OPENAPI), ("asyncapi", ASYNCAPI)):
        answer = sluice.get(f"/{name}.json")
        assert answer.json() == document and answer.headers["Content-Type"].startswith("application/json") and answer.headers["ETag"]


def test_the_version_is_the_gateway_s():
    version = re.search(r"project\(sluice VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert OPENAPI["info"]["version"] == version == ASYNCAPI["info"]["version"]


class Frames:
    def __init__(self, socket):
        self.socket, self.up, self.down = socket, set(), set()

    def payload(self, direction, kind):
        for name in [item["$ref"].rsplit("/", 1)[1] for item in ASYNCAPI["operations"][direction]["messages"]]:
            message = ASYNCAPI["components"]["messages"][name]
            if message["name"] == kind:
                return name, message["payload"]
        raise AssertionError(f"{kind} is not described")

    async def send(self, **frame):
        name, schema = self.payload("take", frame["type"])
        described(ASYNCAPI, schema).validate(frame)
        self.up.add(name)
        await self.socket.send(json.dumps(frame))

    async def until(self, kind):
        while True:
            frame = json.loads(await asyncio.wait_for(self.socket.recv(), 20))
            name, schema = self.payload("send", frame["type"])
            described(ASYNCAPI, schema).validate(frame)
            self.down.add(name)
            if frame["type"] == kind:
                return frame


async def test_every_frame(world):
    import jwt
    import time
    broker = world.broker()
    secret = "a-secret-for-the-description-that-is-long-enough"
    (world.directory / "secret").write_text(secret)
    config = f"""broker: {{ url: mqtt://127.0.0.1:{broker.port}, reconnect: {{ min: 100ms, max: 200ms }} }}
listen: [{{ address: 127.0.0.1:0 }}]
routes:
  - {{ topic: "lamps/{{id}}", publish: {{ topic: "lamps/{{id}}/set" }} }}
  - {{ topic: quick/#, publish: {{ qos: 0, confirm: true }}, history: {{ count: 2 }} }}
  - {{ topic: "deaf/{{id}}", publish: {{ topic: "quick/deaf/{{id}}", confirm: {{ within: 50ms }} }} }}
auth: {{ jwt: {{ secret_file: {world.directory}/secret }} }}
roles: {{ all: {{ subscribe: "#", publish: "#" }} }}
"""
    gateway = world.sluice(config)
    device = world.mqtt(broker.port)
    token = lambda seconds: jwt.encode({"sub": "anna", "roles": ["all"], "exp": int(time.time()) + seconds}, secret, "HS256")
    async with websockets.connect(gateway.ws + "/ws") as socket:
        ws = Frames(socket)
        await ws.send(type="hello", id=0, token=token(20))
        await ws.until("welcome")
        await ws.until("hello")
        await ws.until("expiring")
        await ws.send(type="hello", id="again", token=token(600))
        await ws.until("hello")
        await ws.send(type="subscribe", id=1, channel="quick/#", interval="10ms")
        first = (await ws.until("subscribed"))["cursor"]
        await asyncio.to_thread(lambda: [device.publish("quick/x", str(i), retain=True) for i in range(8)])
        await ws.until("message")
        await ws.send(type="unsubscribe", id=2, channel="quick/#")
        await ws.until("unsubscribed")
        await ws.send(type="subscribe", id=3, channel="quick/#", cursor=first)
        await ws.until("gap")
        await ws.send(type="publish", id=4, channel="lamps/1", data={"state": "ON"})
        await ws.until("published")
        await ws.send(type="publish", id=5, channel="quick/x", data=1)
        await ws.until("accepted")
        await ws.send(type="publish", id=51, channel="quick/x", data=7, confirm=True, idempotency_key="one")
        await ws.until("confirmed")
        await ws.send(type="publish", id=52, channel="deaf/x", data=1, confirm=True)
        await ws.until("timeout")
        await ws.send(type="publish", id=6, channel="nowhere", data=1)
        await ws.until("error")
        await ws.send(type="ping", id=7)
        await ws.until("pong")
        responder = await asyncio.to_thread(answering, broker.port)
        await ws.send(type="request", id=8, channel="lamps/1", data=1, timeout=10000)
        assert (await ws.until("response"))["data"] == {"done": True}
        responder.disconnect()
        await asyncio.to_thread(broker.end)
        await ws.until("upstream")
    assert ws.up == {item["$ref"].rsplit("/", 1)[1] for item in ASYNCAPI["operations"]["take"]["messages"]}
    assert ws.down == {item["$ref"].rsplit("/", 1)[1] for item in ASYNCAPI["operations"]["send"]["messages"]}


def answering(port):
    """A device that answers requests (MQTT 5)."""
    import threading

    import paho.mqtt.client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    client = mqtt.Client("responder", protocol=mqtt.MQTTv5)
    ready = threading.Event()

    def on_message(client, _, message):
        if hasattr(message.properties, "ResponseTopic"):
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = message.properties.CorrelationData
            client.publish(message.properties.ResponseTopic, '{"done":true}', 1, properties=properties)

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("lamps/+/set", 1)
    assert ready.wait(10)
    return client


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_part_is_used(document):
    text = json.dumps(document)
    for kind, parts in document["components"].items():
        for name in parts if kind != "securitySchemes" else ():
            assert f'"#/components/{kind}/{name}"' in text, (kind, name)
