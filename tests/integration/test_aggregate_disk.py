"""`aggregate` with history on disk: windows of the past out of rollups, and on through a stop and a kill; and where there is no aggregate."""
import contextlib
import json
import threading

import pytest
import requests
import socketio
from conftest import yaml
from durable import Gateway, broker, client  # noqa: F401
from harness import wait_until
from mqttclients import properties
from paho.mqtt.packettypes import PacketTypes

pytestmark = pytest.mark.sanitize

ROUTES = """
  - { topic: "roll/{name}", history: { store: disk, count: 5, rollup: { fields: [/t], every: 1s, keep: 1h } } }
  - { topic: "deep/{name}", history: { store: disk, count: 20000 } }
"""


@pytest.fixture
def gateway(world, broker):  # noqa: F811
    it = Gateway(world, broker, routes=ROUTES, extra="workers: 1\n")
    it.start()
    return it


def row(window):
    return window["count"], window["min"], window["max"], window["last"]


def windows(sluice, channel, enough, **params):
    """By time, until that is enough; the gaps, and the id of the last event."""
    got, gaps, place = {}, [], None
    query = {"channel": channel, "aggregate": "/t:1s", **params}
    with requests.get(sluice.http + "/sse", params=query, stream=True, timeout=15) as stream:
        for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("id: "):
                place = line[4:]
            if not line.startswith("data: "):
                continue
            message = json.loads(line[6:])
            if message.get("type") == "gap":
                gaps.append(message)
            elif "data" in message:
                got[message["data"]["t"]] = message["data"]
                if enough(got):
                    break
    return got, gaps, place


def series(sluice, channel):
    body = sluice.get(f"/channels/{channel}/series", params={"field": "/t", "step": "1s", "from": "-1m"}).json()
    return {t: tuple(body[key][i] for key in ("count", "min", "max", "last")) for i, t in enumerate(body["t"])}, body


@contextlib.contextmanager
def feed(client, *channels):  # noqa: F811
    over = threading.Event()

    def run():
        value = 0
        while not over.wait(0.005):
            value += 1
            for channel in channels:
                client.client.publish(channel, json.dumps({"t": value * 37 % 101}), 1)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def whole(sluice, channel, got):
    """Each window that is whole is what the series says."""
    wanted, body = series(sluice, channel)
    for t, window in got.items():
        if "partial" not in window:
            assert row(window) == wanted[t], (t, body["gaps"])
        else:
            assert any(begin < t + 1000 and end > t for begin, end in body["gaps"]), "it says so where there is a gap, and nowhere else"
    return wanted


def test_windows_out_of_a_rollup(gateway, client):  # noqa: F811
    sluice = gateway.now
    with feed(client, "roll/a"):
        wait_until(lambda: len(series(sluice, "roll/a")[0]) >= 3)
    newest = max(series(sluice, "roll/a")[0])
    got, _, _ = windows(sluice, "roll/a", lambda got: max(got) >= newest, since="-1m")
    wanted = whole(sluice, "roll/a", got)
    assert got.keys() == wanted.keys() and sum(window["count"] for window in got.values()) > 100, "far more than the five that the history has"


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_on_through_the_end_of_a_gateway(gateway, client, end):  # noqa: F811
    with feed(client, "deep/a"):
        got, _, place = windows(gateway.now, "deep/a", lambda got: len(got) >= 2)
        sluice = getattr(gateway, end)()
        more, _, _ = windows(sluice, "deep/a", lambda more: max(more) >= max(got) + 2000 and len(more) > 2, cursor=place)
    assert min(more) <= max(got) + 1000, "it goes on where it was"
    got.update(more)
    wanted = whole(sluice, "deep/a", got)
    assert {t for t in wanted if min(got) <= t <= max(got)} == set(got), "no window is missing"


def test_what_is_no_aggregate_is_said_everywhere(shared, paho):
    gateway = shared.sluice(yaml(shared.main_broker.port, '\n  - topic: "#"\n', extra="workers: 1\nsocketio: true\nmqtt: { path: /mqtt, names: channels }\n"))
    page = socketio.Client()
    try:
        page.connect(gateway.http, transports=["websocket"])
        answers = [page.call("subscribe", {"channel": "rooms/a", "aggregate": text}) for text in ("/t:1s", "/t:1")]
    finally:
        page.disconnect() # else its threads would stay
    assert answers[0]["status"] == "subscribed" and answers[1]["code"] == "bad_request" and "every is a duration" in answers[1]["message"]
    watcher = paho(gateway).connected()
    assert watcher.subscribe("rooms/a", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=("aggregate", "/t:1"))) == [0x8F]
    assert gateway.get("/channels/rooms/a/series", params={"step": "10"}).json()["message"].startswith("step is a duration")
    assert "longer step" in gateway.get("/channels/rooms/a/series", params={"step": "100ms", "from": "-1h"}).json()["message"]
