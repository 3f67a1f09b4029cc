"""Rate policies: latest, on_change, and intervals that a client asks for."""
import json
import time

import pytest
import requests
from conftest import yaml
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: fast/{name}
    rate: { policy: latest, interval: 300ms }
  - topic: slow/{name}
    rate: { policy: latest, interval: 2s }
  - topic: every/{name}
  - topic: change/{name}
    codec: number
    rate: { policy: on_change, deadband: 0.5 }
  - topic: object/{name}
    rate: { policy: on_change, pointer: /sensor/0/t, deadband: 1 }
  - topic: word/{name}
    rate: { policy: on_change }
"""


@pytest.fixture(scope="module")
def sluice(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 2\n"))


async def take(ws, last, key=lambda frame: frame["data"]):
    """Frames until the one whose data is `last`."""
    frames = []
    while not frames or key(frames[-1]) != last:
        frames.append(await ws.until("message"))
    return frames


async def test_latest_thins_out_and_the_last_always_arrives(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("fast/a")
        started = time.monotonic()
        for i in range(1, 2001):
            client.publish("fast/a", i, qos=1)
        frames = await take(ws, 2000)
        took = time.monotonic() - started
        values = [frame["data"] for frame in frames]
        assert values == sorted(set(values)) and values[0] == 1
        assert len(values) <= took / 0.3 + 2  # one at once, one an interval
        await ws.quiet()


async def test_after_silence_a_value_goes_at_once(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("slow/silence")
        client.publish("slow/silence", 1, qos=1)
        assert (await ws.until("message", timeout=1))["data"] == 1
        client.publish("slow/silence", 2, qos=1)
        started = time.monotonic()
        assert (await ws.until("message", timeout=5))["data"] == 2
        assert time.monotonic() - started > 1  # it had to wait


async def test_channels_and_sessions_are_paced_apart(sluice, client):
    async with connect(sluice) as one, connect(sluice) as two:
        await one.subscribe("slow/p")
        await one.subscribe("slow/q", id=2)
        client.publish("slow/p", 1, qos=1)
        assert (await one.until("message", timeout=1))["data"] == 1
        client.publish("slow/q", 2, qos=1)
        assert (await one.until("message", timeout=1))["data"] == 2
        await two.subscribe("slow/p")
        assert (await two.until("message", timeout=1))["data"] == 1
        client.publish("slow/p", 3, qos=1)
        assert (await two.until("message", timeout=1))["data"] == 3  # its own first
        assert (await one.until("message", timeout=5))["data"] == 3


async def test_a_late_value_does_not_move_the_cursor_back(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("#")
        for topic, value in [("slow/late", 1), ("slow/late", 2), ("every/late", 3)]:
            client.publish(topic, value, qos=1)
        numbers = []
        while True:
            frame = await ws.recv()
            if frame.get("channel") in ("slow/late", "every/late"):
                numbers.append(int(frame["cursor"].split(".")[1]))
                if frame["data"] == 2:
                    break
        assert numbers == sorted(numbers) and numbers[1] == numbers[2]


async def test_a_value_that_was_held_comes_after_resuming(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("slow/held")
        await ws.subscribe("every/held", id=2)
        for topic, value in [("slow/held", 1), ("slow/held", 2), ("every/held", 3)]:
            client.publish(topic, value, qos=1)
        frames = await take(ws, 3)
        assert [frame["data"] for frame in frames] == [1, 3]  # 2 is held
    cursor = frames[-1]["cursor"]
    async with connect(sluice) as ws:
        await ws.subscribe("every/held", cursor)
        await ws.quiet()  # nothing twice
        answer = await ws.subscribe("slow/held", cursor, id=2)
        assert answer["recovered"]
        assert (await ws.until("message"))["data"] == 2
        await ws.quiet()
    # The same over a poll, and its own cursor does not bring it again.
    url = sluice.http + "/poll"
    channels = {"channel": ["slow/held", "every/held"], "wait": "0"}
    answer = requests.get(url, params={**channels, "cursor": cursor}, timeout=10)
    assert [m["data"] for m in answer.json()["messages"]] == [2]
    for _ in range(3):
        answer = requests.get(url, params={**channels, "cursor": answer.headers["Sluice-Cursor"]}, timeout=10)
        assert answer.status_code == 204


def test_polls_are_paced(sluice, client):
    url, channel = sluice.http + "/poll", "fast/poll"
    client.publish(channel, 0, qos=1)
    wait_until(lambda: sluice.get(f"/channels/{channel}").status_code == 200)
    answer = requests.get(url, params={"channel": channel, "cursor": "last"}, timeout=10)
    assert [m["data"] for m in answer.json()["messages"]] == [0]
    values, polls, started = [], 0, time.monotonic()
    for i in range(1, 1001):
        client.publish(channel, i, qos=1)
    while not values or values[-1] != 1000:
        answer = requests.get(url, params={"channel": channel, "cursor": answer.headers["Sluice-Cursor"]}, timeout=30)
        assert answer.status_code == 200 and not answer.json()["gaps"]
        values += [m["data"] for m in answer.json()["messages"]]
        polls += 1
    assert values == sorted(set(values))
    assert polls <= (time.monotonic() - started) / 0.3 + 2
    answer = requests.get(url, params={"channel": channel, "cursor": answer.headers["Sluice-Cursor"], "wait": "0.2"}, timeout=10)
    assert answer.status_code == 204


def test_a_poll_that_is_answered_early_brings_what_is_held(sluice, client):
    url = sluice.http + "/poll"
    client.publish("slow/both", 1, qos=1)
    wait_until(lambda: sluice.get("/channels/slow/both").status_code == 200)
    params = {"channel": ["slow/both", "every/both"]}
    answer = requests.get(url, params={**params, "cursor": "last"}, timeout=10)
    client.publish("slow/both", 2, qos=1)
    client.publish("every/both", 3, qos=1)
    started, got = time.monotonic(), []
    while len(got) < 2:
        answer = requests.get(url, params={**params, "cursor": answer.headers["Sluice-Cursor"]}, timeout=10)
        got += [m["data"] for m in answer.json()["messages"]]
    assert sorted(got) == [2, 3] and time.monotonic() - started < 1.5


async def test_a_session_asks_for_a_slower_interval(sluice, client):
    async with connect(sluice) as ws, connect(sluice) as other:
        await ws.send(type="subscribe", id=1, channel="every/asked", interval="500ms")
        await ws.until("subscribed")
        await other.subscribe("every/asked")
        started = time.monotonic()
        for i in range(1, 501):
            client.publish("every/asked", i, qos=1)
        assert [f["data"] for f in await take(other, 500)] == list(range(1, 501))
        frames = await take(ws, 500)
        assert len(frames) <= (time.monotonic() - started) / 0.5 + 2
        # Faster than the route is not to be had.
        await ws.send(type="subscribe", id=2, channel="slow/asked", interval="10ms")
        await ws.until("subscribed")
        client.publish("slow/asked", 1, qos=1)
        client.publish("slow/asked", 2, qos=1)
        assert (await ws.until("message"))["data"] == 1
        started = time.monotonic()
        assert (await ws.until("message"))["data"] == 2
        assert time.monotonic() - started > 1
        # Subscribing anew with the cursor and without an interval: full speed again, nothing twice.
        await ws.subscribe("every/asked", frames[-1]["cursor"], id=3)
        for i in range(501, 601):
            client.publish("every/asked", i, qos=1)
        assert [f["data"] for f in await take(ws, 600)] == list(range(501, 601))


async def test_the_faster_of_two_subscriptions_counts(sluice, client):
    async with connect(sluice) as ws:
        await ws.send(type="subscribe", id=1, channel="every/#", interval="1h")
        while (await ws.recv())["type"] != "subscribed":
            pass
        await ws.send(type="ping", id="end")
        while (await ws.recv())["type"] != "pong":
            pass
        await ws.subscribe("every/two")
        for i in range(1, 51):
            client.publish("every/two", i, qos=1)
        assert [f["data"] for f in await take(ws, 50)] == list(range(1, 51))


def test_interval_on_a_stream(sluice, client):
    with requests.get(sluice.http + "/sse", params={"channel": "every/sse", "interval": "400ms"}, stream=True,
                      timeout=10) as stream:
        lines = stream.iter_lines(chunk_size=1)
        next(line for line in lines if line.startswith(b"id:"))
        started = time.monotonic()
        for i in range(1, 301):
            client.publish("every/sse", i, qos=1)
        values = []
        while not values or values[-1] != 300:
            line = next(lines)
            if line.startswith(b"data:"):
                values.append(json.loads(line[5:])["data"])
        assert len(values) <= (time.monotonic() - started) / 0.4 + 2


@pytest.mark.parametrize("interval", ["5", "2 s", "-1s", "2h", "1e3", ""])
async def test_bad_intervals(sluice, interval):
    async with connect(sluice) as ws:
        await ws.send(type="subscribe", id=1, channel="every/x", interval=interval)
        answer = await ws.until("error")
        assert answer["code"] == "bad_request" and "interval" in answer["message"] and answer["id"] == 1
    answer = sluice.get("/poll?channel=every/x&wait=0&interval=" + interval)
    assert answer.status_code == 400 and "interval" in answer.json()["message"]


async def test_on_change_with_a_deadband(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("change/t")
        for value in [20, 20.3, 20.5, 19.5, 20.6, 20.2, 21.1, 21.2, "nonsense", 21.0, -3e2]:
            client.publish("change/t", value, qos=1)
        frames = await take(ws, -300)
        assert [frame["data"] for frame in frames] == [20, 20.6, 21.2, -300]
    history = sluice.get("/channels/change/t/history").json()["messages"]
    assert [m["data"] for m in history] == [20, 20.6, 21.2, -300]
    client.publish("change/t", "", qos=1)  # cleared, then the same value again: both are news
    client.publish("change/t", -300, qos=1)
    wait_until(lambda: [m["data"] for m in sluice.get("/channels/change/t/history").json()["messages"]][-2:] == [None, -300])


async def test_on_change_of_a_member(sluice, client):
    def say(t, n):
        client.publish("object/o", json.dumps({"n": n, "sensor": [{"t": t}]}), qos=1)
    async with connect(sluice) as ws:
        await ws.subscribe("object/o")
        say(5, 1)
        say(5.5, 2)
        say(6.5, 3)
        client.publish("object/o", '{"n":4}', qos=1)  # without the member: another kind of message, it passes
        client.publish("object/o", '{"n":5}', qos=1)
        say(6.5, 6)
        say("off", 7)
        say("off", 8)
        say(None, 9)
        frames = await take(ws, 9, key=lambda frame: frame["data"]["n"])
        assert [frame["data"]["n"] for frame in frames] == [1, 3, 4, 5, 6, 7, 9]


async def test_on_change_of_a_word(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("word/w")
        for value in ["ON", "ON", "OFF", "OFF", "ON", "end"]:
            client.publish("word/w", value, qos=1)
        assert [f["data"] for f in await take(ws, "end")] == ["ON", "OFF", "ON", "end"]


def test_channels_start_apart(sluice, client):
    """`from` says where the channel before it begins."""
    for i in range(5):
        client.publish("every/from1", i, qos=1)
        client.publish("every/from2", i, qos=1)
    wait_until(lambda: sluice.get("/channels/every/from2").text.find('"data":4') > 0)
    history = sluice.get("/channels/every/from1/history").json()["messages"]
    cursor = history[2]["cursor"]
    answer = sluice.get(f"/poll?channel=every/from1&from={cursor}&channel=every/from2&from=last").json()
    assert [(m["channel"], m["data"]) for m in answer["messages"]] == [
        ("every/from1", 3), ("every/from1", 4), ("every/from2", 4)]
    answer = sluice.get(f"/poll?cursor={cursor}&channel=every/from1&channel=every/from2&from=last").json()
    assert [m["data"] for m in answer["messages"]] == [3, 4, 4]
    assert sluice.get("/poll?from=last&channel=every/from1").status_code == 400
    assert sluice.get("/poll?channel=every/from1&from=rubbish").status_code == 400


def test_conflation_is_counted(sluice):
    metrics = sluice.get("/metrics").text
    for name in ("sluice_conflated_total", "sluice_unchanged_total"):
        assert int(next(line for line in metrics.splitlines() if line.startswith(name)).split()[1]) > 0
