"""`since: "-10m"` in the place of a cursor, on every transport: what came at that time or later, and a gap for what is gone."""
import asyncio
import datetime
import json
import time

import pytest
import requests
import socketio
from conftest import yaml
from harness import wait_until
from mqttclients import properties
from paho.mqtt.packettypes import PacketTypes
from wsclient import connect

pytestmark = pytest.mark.memory

ROUTES = """
  - { topic: "rooms/{name}", history: { count: 1000 } }
  - { topic: "short/{name}", history: { count: 3 } }
  - { topic: "aged/{name}", history: { age: 250ms } }
"""


@pytest.fixture(scope="module")
def gateway(shared):
    it = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 1\nmqtt: { path: /mqtt, names: channels }\nsocketio: true\n"))
    for channel in ("rooms/a", "rooms/b", "short/a"):
        for value in range(8):
            shared.client.publish(channel, str(value))
            if value == 4:
                shown(it, channel, 4)
                later()
    shown(it, "short/a", 7)
    it.middle = str(it.get("/channels/rooms/a/history").json()["messages"][5]["ts"])
    return it


def later(seconds=0.02):
    """The clock that time stamps come from has moved on."""
    now = time.time()
    wait_until(lambda: time.time() > now + seconds)


def shown(gateway, channel, value):
    wait_until(lambda: gateway.get(f"/channels/{channel}").json().get("data") == value, what=f"{value} on {channel}")


async def by_websocket(gateway, channel, since):
    async with connect(gateway) as ws:
        await ws.send(type="subscribe", id=1, channel=channel, since=since)
        answer = await ws.until("subscribed")
        assert answer["snapshot"] == 0
        await ws.send(type="ping", id=2)
        got, gaps = [], []
        while (frame := await ws.recv())["type"] != "pong" or not (got or gaps):
            (gaps if frame["type"] == "gap" else got).append(frame)
        return [m["data"] for m in got if m["type"] == "message"], gaps


def by_poll(gateway, channel, since):
    answer = gateway.get("/poll", params={"channel": channel, "since": since, "wait": 0}).json()
    return [m["data"] for m in answer["messages"]], answer["gaps"]


def by_sse(gateway, channel, since):
    got, gaps = [], []
    with requests.get(f"{gateway.http}/sse", params={"channel": channel, "since": since}, stream=True, timeout=10) as answer:
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("data:"):
                message = json.loads(line[5:])
                (gaps if message.get("type") == "gap" else got).append(message)
                if got and got[-1]["data"] == 7:
                    return [m["data"] for m in got], gaps


def by_history(gateway, channel, since):
    answer = gateway.get(f"/channels/{channel}/history", params={"since": since}).json()
    return [m["data"] for m in answer["messages"]], answer["gaps"]


def by_socketio(gateway, channel, since):
    client = socketio.Client()
    got, gaps = [], []
    client.on("message", lambda message, offset=None: got.append(message["data"]))
    client.on("gap", lambda gap, offset=None: gaps.append(gap))
    client.connect(gateway.http, transports=["websocket"])
    assert client.call("subscribe", {"channel": channel, "since": since})["status"] == "subscribed"
    wait_until(lambda: 7 in got)
    client.disconnect()
    return got, gaps


def by_websocket_now(gateway, channel, since):
    return asyncio.run(by_websocket(gateway, channel, since))


WAYS = {"websocket": by_websocket_now, "poll": by_poll, "sse": by_sse, "history": by_history, "socketio": by_socketio}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_begins_at_a_time(gateway, way):
    ask = WAYS[way]
    assert ask(gateway, "rooms/a", "-10m") == (list(range(8)), [])
    assert ask(gateway, "rooms/a", "1h") == (list(range(8)), [])
    assert ask(gateway, "rooms/a", gateway.middle) == ([5, 6, 7], [])
    date = datetime.datetime.fromtimestamp(int(gateway.middle) / 1000, datetime.timezone(datetime.timedelta(hours=2)))
    assert ask(gateway, "rooms/a", date.isoformat(timespec="milliseconds")) == ([5, 6, 7], [])
    got, gaps = ask(gateway, "short/a", "-10m")
    assert got == [5, 6, 7] and [gap["reason"] for gap in gaps] == ["history"]
    assert ask(gateway, "short/a", str(int(time.time() * 1000 - 3600_000)))[1], "that long ago there was more"


def test_mqtt_takes_the_same_times(gateway, paho):
    for since, expected in (("-10m", range(8)), (gateway.middle, (5, 6, 7))):
        watcher = paho(gateway).connected()
        watcher.subscribe("rooms/a", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=("since", since)))
        wait_until(lambda: watcher.got("rooms/a")[-1:] == [b"7"])
        assert watcher.got("rooms/a") == [b"%d" % i for i in expected]


def test_wildcards_begin_at_one_time(gateway):
    got, gaps = by_poll(gateway, "rooms/+", gateway.middle)
    assert got == [5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7] and gaps == []


def test_what_aged_out_before_the_time_is_no_gap(gateway, client):
    """The history is as long as what is asked for: what has just left it is older."""
    for value in range(3):
        client.publish("aged/a", str(value))
    shown(gateway, "aged/a", 2)
    later(0.3)
    for channel in ("aged/a", "aged/+"):
        def fresh():
            client.publish("aged/a", "7")  # soon too old itself
            answer = gateway.get("/poll", params={"channel": channel, "since": "-250ms", "wait": 0})
            return answer.status_code == 200 and answer.json()
        answer = wait_until(fresh)
        assert {m["data"] for m in answer["messages"]} == {7} and answer["gaps"] == []
        assert [gap["reason"] for gap in by_poll(gateway, channel, "-10m")[1]] == ["history"]


def test_a_cursor_comes_first(gateway):
    cursor = gateway.get("/channels/rooms/a/history").json()["messages"][6]["cursor"]
    answer = gateway.get("/poll", params={"channel": "rooms/a", "since": "-10m", "cursor": cursor, "wait": 0}).json()
    assert [m["data"] for m in answer["messages"]] == [7]


@pytest.mark.parametrize("since", ["soon", "-1", "10 parsecs", "--10m", "-", "2026-13-01T00:00:00Z", "2026-11-28T10:00:00", "1e12", "0"])
def test_what_is_no_time(gateway, since):
    for path in ("/poll?channel=rooms/a&", "/sse?channel=rooms/a&", "/channels/rooms/a/history?"):
        answer = gateway.get(path, params={"since": since})
        assert answer.status_code == 400 and answer.json()["message"].startswith("since is a time: before now, such as -10m")

    async def ask():
        async with connect(gateway) as ws:
            await ws.send(type="subscribe", id=1, channel="rooms/a", since=since)
            assert (await ws.until("error"))["message"].startswith("since is a time")
            await ws.send(type="subscribe", id=2, channel="rooms/a", since=[1])
            assert (await ws.until("error"))["message"].startswith("since is a time")
            await ws.send(type="subscribe", id=3, channel="rooms/a", since=int(gateway.middle))
            assert (await ws.until("subscribed"))["id"] == 3
    asyncio.run(ask())
