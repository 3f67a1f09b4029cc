"""Commands that are confirmed by the device's state (decision 0024): devices on a stock MQTT client that answer as Zigbee2MQTT,
Tasmota and Shelly do, or late, in parts, twice, wrongly and never."""
import asyncio
import concurrent.futures
import json
import time

import pytest
import requests
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: [/state, /brightness], within: 2s } }
  - topic: stat/{id}/POWER
    channel: power/{id}
    codec: text
    publish: { topic: "cmnd/{id}/POWER", confirm: { within: 3s } }
  - topic: tele/{id}/STATE
    channel: tasmota/{id}
    codec: json
    publish: { topic: "cmnd/{id}/POWER", confirm: { topic: "stat/{id}/POWER", within: 3s } }
  - topic: shellies/{id}/relay/0
    publish: { topic: "shellies/{id}/relay/0/command", qos: 0, confirm: { within: 3s } }
  - topic: round/{id}
    codec: json
    publish: { topic: "round/{id}/set", confirm: { tolerance: 0.25, within: 2s } }
  - topic: change/{id}
    codec: json
    rate: { policy: on_change }
    publish: { topic: "change/{id}/set", confirm: { within: 3s } }
  - topic: plain/{id}
    publish: {}
"""
EXTRA = """
workers: 2
limits: { publishes_per_session: 8, confirms: 12 }
"""


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def command(gateway, channel, data, **more):
    """Every receipt of one command, and the messages of the channel that came until the last of them."""
    async with connect(gateway) as ws:
        await ws.subscribe(channel)
        return await receipts(ws, channel, data, **more)


async def receipts(ws, channel, data, id=7, **more):
    await ws.send(type="publish", id=id, channel=channel, data=data, confirm=True, **more)
    got, values = [], []
    while not got or got[-1]["type"] not in ("confirmed", "timeout", "error"):
        frame = await ws.recv()
        if frame["type"] == "message":
            values.append(frame)
        else:
            assert frame["id"] == id
            got.append(frame)
    return got, values


def shows(values, cursor):
    return next(value["data"] for value in values if value["cursor"] == cursor)


@pytest.mark.parametrize("channel,sent,shown", [
    ("lamps/plain1", {"state": "ON", "transition": 2}, {"state": "ON", "brightness": 0, "linkquality": 90}),
    ("lamps/plain2", {"state": "on", "brightness": 12}, {"state": "ON", "brightness": 12, "linkquality": 90}),
    ("lamps/twice1", {"state": "ON"}, {"state": "ON", "brightness": 0, "linkquality": 90}),
    ("lamps/stored1", {"state": "ON"}, {"state": "ON", "brightness": 0, "linkquality": 90}),  # retained, and live all the same
    ("lamps/late1", {"brightness": 99}, {"state": "OFF", "brightness": 99, "linkquality": 90}),
    ("lamps/parts1", {"state": "ON", "brightness": 7}, {"brightness": 7}),
    ("power/t1", "on", "ON"),
    ("shellies/s1/relay/0", "on", "on"),
    ("round/rounds1", 21.3, 21.5),
    ("change/c1", {"state": "ON"}, {"state": "ON", "brightness": 0, "linkquality": 90}),
])
def test_a_device_that_does_it_confirms_it(hall, channel, sent, shown):
    got, values = run(command(hall[0], channel, sent))
    first = "accepted" if channel.startswith("shellies") else "published"
    assert [frame["type"] for frame in got] == [first, "confirmed"]
    assert set(got[1]) == {"type", "id", "cursor"}
    assert shows(values, got[1]["cursor"]) == shown


@pytest.mark.parametrize("channel,sent,there", [
    ("lamps/never1", {"state": "ON"}, None),
    ("lamps/wrong1", {"state": "ON"}, {"state": "OFF", "brightness": 0, "linkquality": 90}),
    ("lamps/half1", {"state": "ON", "brightness": 5}, {"state": "ON", "brightness": 0, "linkquality": 90}),
    ("round/wrong2", {"state": "ON"}, {"state": "OFF", "brightness": 0, "linkquality": 90}),
])
def test_a_device_that_does_not_do_it_never_confirms_it(hall, channel, sent, there):
    begun = time.monotonic()
    got, values = run(command(hall[0], channel, sent))
    assert [frame["type"] for frame in got] == ["published", "timeout"]
    assert time.monotonic() - begun >= 2
    assert got[1].get("data") == there
    if there:
        assert shows(values, got[1]["cursor"]) == there
    else:
        assert set(got[1]) == {"type", "id"}


def test_a_state_that_was_shown_and_taken_back_is_confirmed_by_what_showed_it(hall):
    got, values = run(command(hall[0], "lamps/jump1", {"state": "ON"}))
    assert [frame["type"] for frame in got] == ["published", "confirmed"]
    assert shows(values, got[1]["cursor"])["state"] == "ON"


def test_another_topic_shows_the_state(hall):
    got, values = run(command(hall[0], "tasmota/t7", "on"))
    assert [frame["type"] for frame in got] == ["published", "confirmed"]
    assert values == []  # the cursor is that of the message on the other channel
    assert hall[0].get("/channels/power/t7").json()["cursor"] == got[1]["cursor"]


def test_old_clients_see_no_change(hall):
    async def both():
        async with connect(hall[0]) as ws:
            assert await ws.publish("lamps/plain5", {"state": "ON"}, id=5) == {"type": "published", "id": 5}
            await ws.quiet()
    run(both())
    answer = requests.post(hall[0].http + "/channels/lamps/never5", data='{"state":"ON"}', timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "published"})


def test_what_can_not_be_confirmed_is_not_sent(hall):
    gateway, devices = hall
    for channel, data, code in [("plain/1", {"state": "ON"}, "unsupported"), ("lamps/plain6", {"color": 1}, "bad_request"),
                                ("change/big", {str(i): i for i in range(40)}, "bad_request"),
                                ("change/long", "x" * 5000, "bad_request")]:
        got, _ = run(command(gateway, channel, data))
        assert [(frame["type"], frame["code"]) for frame in got] == [("error", code)], (channel, got)
    assert not {topic for topic, _ in devices.commands} & {"plain/1", "z2m/plain6/set", "change/big/set", "change/long/set"}


def test_over_http(hall):
    def post(channel, data, query="?confirm=true"):
        return requests.post(f"{hall[0].http}/channels/{channel}{query}", data=data, timeout=10)
    answer = post("lamps/plain8", '{"state":"ON"}')
    assert answer.status_code == 200 and answer.json()["status"] == "confirmed"
    assert answer.json()["cursor"] == hall[0].get("/channels/lamps/plain8").json()["cursor"]
    answer = post("lamps/wrong8", '{"state":"ON"}')
    assert answer.status_code == 202 and answer.json()["status"] == "timeout"
    assert answer.json()["data"]["state"] == "OFF"
    assert post("power/t8", '"off"', "?as=json&confirm=1").json()["status"] == "confirmed"
    assert post("shellies/s8/relay/0", "off").json()["status"] == "confirmed"
    assert post("plain/8", "x").json()["code"] == "unsupported"
    for query in ("?confirm=perhaps", "?confirm=true&reply=1s"):
        assert post("lamps/plain8", "{}", query).json()["code"] == "bad_request"


def test_two_browsers_racing(hall):
    """Each hears of its own command: whoever is confirmed has a message that shows it, from after its command."""
    async def race():
        async with connect(hall[0]) as one, connect(hall[0]) as two:
            for turn in range(10):
                ends = await asyncio.gather(watched(one, {"state": "ON"}, turn), watched(two, {"state": "OFF"}, turn))
                assert all(end == "confirmed" for end in ends)

    async def watched(ws, data, turn):
        await ws.subscribe("lamps/race", id=100 + turn)
        got, values = await receipts(ws, "lamps/race", data, id=turn)
        if got[-1]["type"] == "confirmed":
            assert shows(values, got[-1]["cursor"])["state"] == data["state"]
        await ws.send(type="unsubscribe", id=f"u{turn}", channel="lamps/race")
        while (await ws.recv())["type"] != "unsubscribed":
            pass
        return got[-1]["type"]
    run(race())


def test_many_at_once_are_bounded(hall):
    async def flood():
        async with connect(hall[0]) as ws:
            for i in range(12):
                await ws.send(type="publish", id=i, channel=f"lamps/never{i}", data={"state": "ON"}, confirm=True)
            ends = {}
            while len(ends) < 12:
                frame = await ws.recv()
                if frame["type"] != "published":
                    ends[frame["id"]] = frame["type"], frame.get("code")
            return ends
    ends = run(flood())
    assert sum(end == ("error", "overloaded") for end in ends.values()) == 4  # limits.publishes_per_session
    assert sum(end == ("timeout", None) for end in ends.values()) == 8
    with concurrent.futures.ThreadPoolExecutor(40) as pool:  # limits.confirms, of each of two workers
        answers = list(pool.map(lambda i: requests.post(f"{hall[0].http}/channels/lamps/never{i}?confirm=1",
                                                        data='{"state":"ON"}', timeout=10).json(), range(40)))
    refused = [answer for answer in answers if answer.get("code") == "overloaded"]
    assert len(refused) >= 40 - 24 and "limits.confirms" in refused[0]["message"]
    assert all(answer["status"] == "timeout" for answer in answers if "status" in answer)
    assert "\nsluice_confirms 0\n" in hall[0].get("/metrics").text


def test_a_client_that_leaves_leaves_nothing_behind(hall):
    async def leave():
        async with connect(hall[0]) as ws:
            await ws.send(type="publish", id=1, channel="lamps/late-left", data={"state": "ON"}, confirm=True)
            assert (await ws.recv())["type"] == "published"
    run(leave())
    wait_until(lambda: "\nsluice_confirms 0\n" in hall[0].get("/metrics").text)


def test_explain_says_how(hall):
    def line(channel):
        said = hall[0].get("/explain?channel=" + channel.replace("/", "%2F")).json()
        return next(line.strip() for line in said["text"].splitlines() if line.strip().startswith("confirm:"))
    assert line("lamps/1") == "confirm:  when /state, /brightness of the channel is as it was sent, within 2000ms; 'TOGGLE' by a change"
    assert line("power/1") == "confirm:  when everything of the channel is as it was sent, within 3000ms; 'TOGGLE' by a change"
    assert line("tasmota/1") == "confirm:  when everything of topic 'stat/1/POWER' is as it was sent, within 3000ms; 'TOGGLE' by a change"
