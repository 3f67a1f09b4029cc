"""`aggregate` in a subscription: one message for each window of numbers, exact against an oracle in plain Python, on every transport, with no hole
after /series and none after a break."""
import asyncio
import hashlib
import json
import math
import random
import threading
import time

import pytest
import requests
from conftest import yaml
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize

EVERY = 200
ROUTES = """
  - { topic: "rooms/{rest...}", history: { count: 20000, bytes: 64MiB } }
  - { topic: "short/{name}", history: { count: 5 } }
  - { topic: "none/{name}", history: { count: 0 } }
"""
KEYS = {name: f"{name}-key-of-the-test-0123456789" for name in ("all", "few", "now")}
API_KEYS = ", ".join(f'{{ name: {name}, hash: "sha256:{hashlib.sha256(key.encode()).hexdigest()}", roles: {name} }}' for name, key in KEYS.items())
AUTH = f"""
auth: {{ api_keys: [{API_KEYS}] }}
roles:
  all: {{ subscribe: "#" }}
  few: {{ subscribe: "#", fields: [t] }}
  now: {{ subscribe: "#", history: [] }}
"""


@pytest.fixture(scope="module")
def gateway(shared):
    sluice = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 2\n"))
    after(2)  # what came before the start is unknown, so the window of the start is partial
    return sluice


class Feed:
    """Publishes numbers, now and then something that is none, until it is stopped."""

    def __init__(self, client, channels):
        self.client, self.channels, self.over = client, channels, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        dice = random.Random(7)
        while not self.over.wait(dice.random() * 0.02):
            value = dice.choice([{"t": round(dice.gauss(20, 5), 2)}] * 8 + [{"t": "x"}, {"u": 1}])
            self.client.client.publish(dice.choice(self.channels), json.dumps(value), 1)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def after(windows):
    """Waits until so many more windows of the clock are over."""
    end = (time.time() * 1000 // EVERY + windows) * EVERY / 1000
    wait_until(lambda: time.time() > end)


def history(gateway, channel):
    return gateway.get(f"/channels/{channel}/history").json()["messages"]


def oracle(messages, every=EVERY):
    windows = {}
    for message in messages:
        value = message["data"].get("t")
        if isinstance(value, (int, float)):
            windows.setdefault(message["ts"] - message["ts"] % every, []).append(value)
    return {t: (len(v), min(v), max(v), v[-1], math.fsum(v) / len(v)) for t, v in windows.items()}


def row(window):
    return window["count"], window["min"], window["max"], window["last"], window["mean"]


def same(got, wanted):
    assert got.keys() == wanted.keys()
    for t in wanted:
        assert got[t][:4] == wanted[t][:4] and math.isclose(got[t][4], wanted[t][4], rel_tol=1e-9), t


def data_of(frame, channel=None, every=EVERY):
    data = frame["data"]
    assert channel in (None, frame["channel"]) and data["step"] == every and data["t"] % every == 0 and frame["ts"] == data["t"] + every
    assert data["field"] == "/t" and "partial" not in data, frame
    return data


def subscription(channel, **more):
    return {"type": "subscribe", "id": 1, "channel": channel, "aggregate": {"field": "/t", "every": f"{EVERY}ms"}, **more}


async def windows_until(ws, got, enough, channel=None):
    """Windows by channel and time, until that is enough."""
    while not enough(got):
        frame = await ws.until("message")
        data = data_of(frame, channel)
        got.setdefault(frame["channel"], {})[data["t"]] = row(data)
        got["cursor"] = frame["cursor"]


def newest(gateway, *channels):
    """Is every window there that has a sample? To be asked when nothing comes any more."""
    wanted = {channel: oracle(history(gateway, channel)) for channel in channels}
    return lambda got: all(max(got.get(channel, {}), default=0) >= max(wanted[channel]) for channel in channels)


async def test_windows_are_what_an_oracle_says(gateway, client):
    async with connect(gateway) as ws:
        await ws.send(**subscription("rooms/a"))
        answer = await ws.until("subscribed")
        assert answer["snapshot"] == 0 and answer["channel"] == "rooms/a"
        with Feed(client, ["rooms/a"]):
            await asyncio.to_thread(after, 6)
        got = {}
        await windows_until(ws, got, newest(gateway, "rooms/a"), "rooms/a")
        same(got["rooms/a"], oracle(history(gateway, "rooms/a")))
        await ws.quiet()
        await ws.send(type="unsubscribe", id=2, channel="rooms/a")
        assert (await ws.until("error"))["code"] == "bad_request"
        await ws.send(type="unsubscribe", id=3, channel="rooms/a", aggregate=f"/t:{EVERY}ms")
        await ws.until("unsubscribed")
        assert gateway.metric("sluice_windows_open") == 0


async def test_after_a_series_there_is_no_hole_and_nothing_counts_twice(gateway, client):
    with Feed(client, ["rooms/seam"]):
        await asyncio.to_thread(after, 4)
        step = EVERY
        body = gateway.get("/channels/rooms/seam/series", params={"field": "/t", "from": "-1s", "step": f"{EVERY}ms"}).json()
        assert body["step"] == step
        points = {t: tuple(body[k][i] for k in ("count", "min", "max", "last", "mean")) for i, t in enumerate(body["t"])}
        async with connect(gateway) as ws:
            await ws.send(**subscription("rooms/seam", cursor=body["cursor"]))
            assert (await ws.until("subscribed"))["recovered"]
            got = {"rooms/seam": points}
            until = (time.time() * 1000 // step + 3) * step
            await windows_until(ws, got, lambda got: max(got["rooms/seam"], default=0) >= until, "rooms/seam")
    wanted = oracle(history(gateway, "rooms/seam"))
    known = sorted(got["rooms/seam"])
    same(got["rooms/seam"], {t: v for t, v in wanted.items() if known[0] <= t <= known[-1]})


async def test_a_break_and_several_channels(gateway, client):
    channels = [f"rooms/many/{i}" for i in range(5)]
    got = {"cursor": None}
    with Feed(client, channels):
        for _ in range(4):
            async with connect(gateway) as ws:
                await ws.send(**subscription("rooms/many/+", cursor=got["cursor"] or "last"))
                await ws.until("subscribed")
                seen = sum(len(v) for k, v in got.items() if k != "cursor")
                await windows_until(ws, got, lambda got: sum(len(v) for k, v in got.items() if k != "cursor") > seen + 4)
            await asyncio.to_thread(after, 2)
    async with connect(gateway) as ws:
        await ws.send(**subscription("rooms/many/+", cursor=got["cursor"]))
        await ws.until("subscribed")
        await windows_until(ws, got, newest(gateway, *channels))
    for channel in channels:
        wanted = oracle(history(gateway, channel))
        first = min(got[channel])
        same(got[channel], {t: v for t, v in wanted.items() if t >= first})


async def test_since_brings_the_windows_of_the_past(gateway, client):
    with Feed(client, ["rooms/past"]):
        await asyncio.to_thread(after, 4)
    await asyncio.to_thread(after, 2)
    async with connect(gateway) as ws:
        await ws.send(**subscription("rooms/past", since="-1m"))
        await ws.until("subscribed")
        got, wanted = {}, oracle(history(gateway, "rooms/past"))
        await windows_until(ws, got, lambda got: len(got.get("rooms/past", {})) >= len(wanted))
        same(got["rooms/past"], wanted)


async def test_a_window_that_is_open_is_whole_or_says_that_it_is_not(gateway, client):
    every = 1000
    wait_until(lambda: time.time() % 1 < 0.2)
    for channel in ("rooms/open", "none/open"):
        for value in (1, 9, 3):
            client.client.publish(channel, json.dumps({"t": value}), 1)
        wait_until(lambda channel=channel: gateway.get(f"/channels/{channel}").json().get("data") == {"t": 3})
    async with connect(gateway) as ws:
        for channel in ("rooms/open", "none/open"):
            await ws.send(type="subscribe", channel=channel, aggregate=f"/t:{every}ms")
            await ws.until("subscribed")
        frames = {frame["channel"]: frame["data"] for frame in [await ws.until("message"), await ws.until("message")]}
        whole, part = frames["rooms/open"], frames["none/open"]
        assert "partial" not in whole and row(whole) == (3, 1, 9, 3, 13 / 3)
        assert part["partial"] is True and part["last"] == 3


def test_sse(gateway, client):
    got = {}
    query = f"/sse?channel=rooms/stream&aggregate=/t:{EVERY}ms"
    with requests.get(gateway.http + query, stream=True, timeout=10) as stream, Feed(client, ["rooms/stream"]):
        ids = []
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("id: "):
                ids.append(line[4:])
            if line.startswith("data: "):
                data = data_of(json.loads(line[6:]), "rooms/stream")
                got[data["t"]] = row(data)
            if len(got) == 3:
                break
    last = max(got)
    after(2)
    with requests.get(gateway.http + query, headers={"Last-Event-ID": ids[-1]}, stream=True, timeout=10) as stream:
        wanted = oracle(history(gateway, "rooms/stream"))
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("data: "):
                data = data_of(json.loads(line[6:]), "rooms/stream")
                assert data["t"] >= last
                got[data["t"]] = row(data)
            if max(got) >= max(wanted):
                break
    same(got, wanted)


def test_polls_bring_each_window_once(gateway, client):
    got, cursor, wanted = {}, "", None
    feed = Feed(client, ["rooms/poll"])
    with feed:
        while len(got) < 4:
            cursor = poll(gateway, cursor, got)
    wanted = oracle(history(gateway, "rooms/poll"))
    while max(got) < max(wanted):
        cursor = poll(gateway, cursor, got)
    same(got, {t: v for t, v in wanted.items() if t >= min(got)})
    answer = gateway.get("/poll", params={"channel": "rooms/poll", "aggregate": f"/t:{EVERY}ms", "cursor": cursor, "wait": "0"})
    assert answer.status_code == 204, answer.text


def poll(gateway, cursor, got):
    answer = gateway.get("/poll", params={"channel": "rooms/poll", "aggregate": f"/t:{EVERY}ms", "cursor": cursor, "wait": "5"})
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 200:
        for message in answer.json()["messages"]:
            data = data_of(message, "rooms/poll")
            assert data["t"] not in got, "a window comes once"
            got[data["t"]] = row(data)
    return answer.headers["Sluice-Cursor"]


@pytest.mark.parametrize("bad, expected", [
    ("/t", "FIELD:EVERY"), ("t:10s", "JSON pointer"), ("/t:", "every is a duration"), ("/t:10", "every is a duration"), ("/t:10ms", "100ms to 1d"),
    ("/t:2d", "100ms to 1d"), ("/" + "x" * 256 + ":1s", "longer than 255"), ("", "FIELD:EVERY"), (":", "every is a duration"), ("/t:-1s", "every is a duration"),
])
async def test_bad_options_say_what_was_expected(gateway, bad, expected):
    for path in ("/sse", "/poll"):
        answer = gateway.get(path, params={"channel": "rooms/a", "aggregate": bad})
        assert answer.status_code == 400 and expected in answer.json()["message"], answer.text
    async with connect(gateway) as ws:
        await ws.send(type="subscribe", id=1, channel="rooms/a", aggregate=bad)
        error = await ws.until("error")
        assert error["id"] == 1 and error["code"] == "bad_request" and expected in error["message"]


async def test_bad_objects_say_what_was_expected(gateway):
    async with connect(gateway) as ws:
        for bad in (5, [], {}, {"field": "/t"}, {"every": 10}, {"field": 1, "every": "1s"}, {"field": "/t", "every": "1s", "more": 1}, True):
            await ws.send(type="subscribe", id=1, channel="rooms/a", aggregate=bad)
            error = await ws.until("error")
            assert error["code"] == "bad_request" and "aggregate" in error["message"], (bad, error)
        await ws.send(type="subscribe", id=1, channel="rooms/a", aggregate="value:1s", interval="2s")
        assert "exclude each other" in (await ws.until("error"))["message"]
        await ws.send(type="subscribe", id=1, channel="nowhere", aggregate="value:1s")
        assert (await ws.until("error"))["code"] == "unknown_channel"
        await ws.send(type="subscribe", id=1, channel="rooms/a", aggregate="value:1s", cursor="no cursor")
        assert (await ws.until("error"))["code"] == "bad_request"
    several = gateway.get("/poll?channel=rooms/a&channel=rooms/b&aggregate=/t:1s")
    wildcard = gateway.get("/poll", params={"channel": "rooms/+", "aggregate": "/t:1s"})
    assert several.status_code == wildcard.status_code == 400 and "a poll with aggregate is of one channel" in several.json()["message"]
    assert gateway.get("/sse?channel=rooms/a&aggregate=/t:1s&interval=2s").status_code == 400


async def test_who_may(shared, client):
    gateway = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 1\nlimits: { aggregates: 2 }\n" + AUTH))
    def key(name):
        return {"Authorization": f"Bearer {KEYS[name]}"}
    async with connect(gateway, extra_headers=key("few")) as ws:
        await ws.send(type="subscribe", id=1, channel="rooms/a", aggregate="/u:1s")
        error = await ws.until("error")
        assert error["code"] == "forbidden" and "only some fields" in error["message"]
        await ws.send(**subscription("rooms/who"))
        await ws.until("subscribed")
        client.publish("rooms/who", '{"t": 4, "u": 5}')
        assert (await ws.until("message"))["data"]["max"] == 4  # partial, if the gateway began in this window
    async with connect(gateway, extra_headers=key("now")) as ws:
        await ws.send(**subscription("rooms/a"))
        error = await ws.until("error")
        assert error["code"] == "forbidden" and "history" in error["message"]
    async with connect(gateway, extra_headers=key("all")) as ws:
        for every in ("1s", "2s"):
            await ws.send(type="subscribe", channel="rooms/a", aggregate=f"/t:{every}")
            await ws.until("subscribed")
        await ws.send(type="subscribe", channel="rooms/a", aggregate="/t:3s")
        error = await ws.until("error")
        assert error["code"] == "limit_reached" and "limits.aggregates" in error["message"]


async def test_many_ask_and_each_window_is_made_once(gateway, client):
    sockets = 40
    before = gateway.metric("sluice_windows_total")
    async with connect(gateway) as first:
        others = [connect(gateway) for _ in range(sockets)]
        everyone = [first] + [await other.__aenter__() for other in others]
        for ws in everyone:
            await ws.send(**subscription("rooms/crowd"))
            await ws.until("subscribed")
        client.publish("rooms/crowd", '{"t": 1}')
        frames = [await ws.until("message") for ws in everyone]
        assert len({json.dumps(frame) for frame in frames}) == 1, "all of one"
        assert gateway.metric("sluice_windows_total") - before <= 2, "one for each worker"
        for other in others:
            await other.__aexit__(None, None, None)
