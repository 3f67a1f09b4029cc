"""The table of transports and features in docs/protocol.md: what stock clients find there is what its cells say."""
import asyncio
import json
import pathlib
import time

import paho.mqtt.client as mqtt
import pytest
import requests
import socketio
import websockets
from conftest import World, yaml
from harness import wait_until
from lamps import Devices
from mqttclients import Paho, properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from wsclient import dial

PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "docs/protocol.md"
KEY, HASH = "test", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
ROUTES = """
  - { topic: n/#, history: { count: 100 } }
  - { topic: s/#, stale: 300ms }
  - { topic: f/#, codec: json }
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: /state, within: 10s } }
"""
EXTRA = f"""
mqtt: true
socketio: true
auth: {{ anonymous: all, api_keys: [{{ name: narrow, hash: "{HASH}", roles: narrow }}] }}
roles:
  all: {{ subscribe: "#", publish: "#" }}
  narrow: {{ subscribe: "f/#", fields: [a] }}
"""


def table():
    lines = PROTOCOL.read_text().split("## What works where\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {(row[0], column): cell for row in rows[2:] for column, cell in zip(rows[0][1:], row[1:])}


TABLE = table()
COLUMNS = ["/ws", "/sse", "/poll", "raw socket", "Socket.IO", "MQTT 5", "MQTT 3.1.1", "HTTP"]


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("hall"))
    broker = world.broker()
    devices = Devices(broker.port)
    gateway = world.sluice(yaml(broker.port, ROUTES, extra=EXTRA))
    for value in (1, 2, 3):
        devices.say("n/a", value)
    devices.say("s/a", 1)
    devices.say("f/a", {"a": 1, "b": 2})
    wait_until(lambda: gateway.get("/channels/f/a").ok)
    gateway.past = gateway.get("/channels/n/a/history").json()["messages"]
    assert [message["data"] for message in gateway.past] == [1, 2, 3]
    wait_until(lambda: gateway.get("/channels/s/a").json()["state"] == "stale")
    yield gateway, devices
    devices.close()
    world.end()


# --- what each brings of a channel: `ask` is cursor=, since=, or nothing; at most `most` values, and the newest state -----------

def query(channel, ask, **more):
    return requests.models.RequestEncodingMixin._encode_params({"channel": channel, **ask, **more})


def bearer(token):
    return {"Authorization": "Bearer " + token} if token else {}


def listen_http(gateway, channel, ask, _most, token):
    if ask:
        return [m["data"] for m in gateway.get(f"/channels/{channel}/history", params=ask).json()["messages"]], None
    answer = gateway.get("/channels/" + channel, headers=bearer(token)).json()
    return [answer["data"]], answer.get("state")


def listen_poll(gateway, channel, ask, _most, token):
    answer = gateway.get("/poll?" + query(channel, ask or {"cursor": "last"}, wait=5), headers=bearer(token)).json()
    return [m["data"] for m in answer["messages"]], next((s["state"] for s in answer.get("states", [])), None)


def listen_sse(gateway, channel, ask, most, token):
    values, state, event = [], None, "message"
    with requests.get(f"{gateway.http}/sse?{query(channel, ask)}", stream=True, timeout=10, headers=bearer(token)) as answer:
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("event: "):
                event = line[7:]
            if line.startswith("data: ") and json.loads(line[6:]):
                frame = json.loads(line[6:])
                values += [frame["data"]] if "data" in frame else []
                state = frame.get("state", state)
            if len(values) == most and (state or not channel.startswith("s/")):
                break
    return values, state


def listen_sockets(path):
    def listen(gateway, channel, ask, most, token):
        async def run():
            values, state = [], None
            where = f"/channels/{channel}?" + query(channel, ask) if path is None else path
            async with dial(gateway.ws + where, bearer(token)) as socket:
                if path:
                    await socket.send(json.dumps({"type": "subscribe", "channel": channel, **ask}))
                while len(values) < most or (path and channel.startswith("s/") and not state):
                    frame = json.loads(await socket.recv())
                    if path is None:
                        return [frame], None  # one frame is all that it brings at once
                    values += [frame["data"]] if frame["type"] == "message" else []
                    state = frame["state"] if frame["type"] == "status" else state
            return values, state
        return asyncio.run(asyncio.wait_for(run(), 10))
    return listen


def listen_socketio(gateway, channel, ask, most, token):
    client, values, states = socketio.Client(), [], []
    client.on("message", lambda message, *_: values.append(message["data"]))
    client.on("status", lambda status, *_: states.append(status["state"]))
    client.connect(gateway.http, transports=["websocket"], auth={"token": token} if token else None)
    try:
        assert client.call("subscribe", {"channel": channel, **ask}, timeout=10)["status"] == "subscribed"
        wait_until(lambda: len(values) >= most and (states or not channel.startswith("s/")))
    finally:
        client.disconnect()
    return values, states[-1] if states else None


def listen_mqtt(version):
    def listen(gateway, channel, ask, most, token):
        client = Paho(gateway, version, user="x" if token else None, password=token).connected()
        try:
            more = {"properties": properties(PacketTypes.SUBSCRIBE, UserProperty=list(ask.items()))} if ask else {}
            client.subscribe(channel, 1, **more)
            wait_until(lambda: len(client.messages) >= most)
            state = dict(getattr(getattr(client.messages[-1], "properties", None), "UserProperty", [])).get("state")
            return [json.loads(message.payload) for message in client.messages], state
        finally:
            client.close()
    return listen


LISTEN = {"/ws": listen_sockets("/ws"), "/sse": listen_sse, "/poll": listen_poll, "raw socket": listen_sockets(None),
          "Socket.IO": listen_socketio, "MQTT 5": listen_mqtt(mqtt.MQTTv5), "MQTT 3.1.1": listen_mqtt(mqtt.MQTTv311), "HTTP": listen_http}


def has(row, column):
    return TABLE[row, column] != "–"


@pytest.mark.parametrize("column", COLUMNS)
def test_what_comes(hall, column):
    gateway, _ = hall

    def listen(channel, ask={}, most=1, token=None):
        return LISTEN[column](gateway, channel, ask, most, token)
    assert listen("n/a")[0] == [3]
    assert has("last value", column)
    assert listen("s/a") == ([1], "stale" if has("states", column) else None)
    assert listen("f/a", token=KEY)[0] == [{"a": 1}] and has("fields of a role", column)
    if column != "MQTT 3.1.1":  # which has no way to ask
        resumes, since = has("resume", column), has("since", column)
        assert listen("n/a", {"cursor": gateway.past[0]["cursor"]}, 2)[0] == ([2, 3] if resumes else [3])
        assert listen("n/a", {"since": "-1h"}, 3)[0] == ([1, 2, 3] if since else [3])
    if column not in ("MQTT 3.1.1", "HTTP"):
        first = listen("n/a", {"since": "-1h", "aggregate": "value:100ms"})[0][0]
        assert first == 3 if not has("aggregate", column) else first["count"] > 0 and first["step"] == 100
    if column == "HTTP":
        assert sum(gateway.get("/channels/n/a/series?step=1s").json()["count"]) == 3


# --- what each can send --------------------------------------------------------------------------------------------------------

def send_ws(gateway, name, data, more):
    async def run():
        async with websockets.connect(gateway.ws + "/ws") as socket:
            await socket.send(json.dumps({"type": "publish", "id": 1, "channel": name, "data": data, **more}))
            last = {"confirmed", "timeout", "error"} if more.get("confirm") else {"published", "error"}
            while (frame := json.loads(await socket.recv()))["type"] not in last:
                pass
            return frame["type"]
    return asyncio.run(asyncio.wait_for(run(), 20))


def send_http(gateway, name, data, more):
    headers = {"Idempotency-Key": more["idempotency_key"]} if "idempotency_key" in more else {}
    where = "?confirm=true" if more.get("confirm") else ""
    return requests.post(f"{gateway.http}/channels/{name}{where}", data=json.dumps(data), headers=headers, timeout=20).json()["status"]


def send_socketio(gateway, name, data, more):
    client = socketio.Client()
    client.connect(gateway.http, transports=["websocket"])
    try:
        return client.call("publish", {"channel": name, "data": data, **more}, timeout=20)["status"]
    finally:
        client.disconnect()


def send_mqtt(version):
    def send(gateway, name, data, more):
        client = Paho(gateway, version).connected()
        told = []
        client.client.on_publish = lambda _c, _u, mid, *rest: told.append(rest)
        try:
            names = {"confirm": ("sluice-confirm", "true"), "idempotency_key": ("sluice-idempotency-key", more.get("idempotency_key"))}
            user = Properties(PacketTypes.PUBLISH)
            user.UserProperty = [names[key] for key in more]
            kwargs = {"properties": user} if more else {}
            client.client.publish(name, json.dumps(data), 1, **kwargs)
            wait_until(lambda: told, 20)
            return "published"  # the outcome is a property of PUBACK, which this client does not show (test_confirm_clients.py)
        finally:
            client.close()
    return send


def send_raw(gateway, name, data, _more):
    async def run():
        async with websockets.connect(f"{gateway.ws}/channels/{name}") as socket:
            await socket.send(json.dumps(data))
            await socket.recv()  # the lamp has done it
            return "published"
    return asyncio.run(asyncio.wait_for(run(), 20))


SEND = {"/ws": send_ws, "raw socket": send_raw, "Socket.IO": send_socketio, "MQTT 5": send_mqtt(mqtt.MQTTv5),
        "MQTT 3.1.1": send_mqtt(mqtt.MQTTv311), "HTTP": send_http}


@pytest.mark.parametrize("column", COLUMNS)
def test_what_can_be_sent(hall, column):
    gateway, devices = hall
    assert has("publish", column) == (column in SEND)
    lamp = column.strip("/").replace(" ", "").lower()

    def commands():
        return [payload for topic, payload in devices.commands if topic == f"z2m/{lamp}/set"]
    if column in SEND:
        assert SEND[column](gateway, "lamps/" + lamp, {"state": "ON"}, {}) == "published"
        wait_until(lambda: len(commands()) == 1)
    if has("confirm", column):
        answer = SEND[column](gateway, "lamps/" + lamp, {"state": "OFF"}, {"confirm": True})
        assert answer == ("published" if column == "MQTT 5" else "confirmed")
        assert gateway.get("/channels/lamps/" + lamp).json()["data"]["state"] == "OFF" and len(commands()) == 2
    if has("idempotency key", column):
        before, key = len(commands()), f"{column} {time.time()}"
        for _ in range(2):
            assert SEND[column](gateway, "lamps/" + lamp, {"state": "ON"}, {"idempotency_key": key}) == "published"
        wait_until(lambda: len(commands()) == before + 1)


def test_every_cell_is_filled():
    assert {column for _, column in TABLE} == set(COLUMNS) and all(TABLE.values())
    assert len(TABLE) == len(COLUMNS) * 18
