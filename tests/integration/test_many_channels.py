"""Many channels: what one client asks for must not hold up another. Counted in slices, since a clock proves nothing on a busy machine."""
import json
import socket
import struct

import pytest
import requests
from conftest import yaml
from harness import wait_until
from wsclient import connect

CHANNELS = 20000  # ten slices, and several times what limits.queue holds
ROUTES = """
  - topic: many/#
    history: { count: 3 }
"""


def publish_all(port, first, count, retain=False):
    """One stream of QoS 0 publishes, each to a channel of its own."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(bytes([0x10, 12]) + b"\0\4MQTT\4\2\0\x3c\0\0")
        sock.recv(4)
        packets = []
        for i in range(first, first + count):
            topic = b"many/%d/%d" % (i % 100, i)
            body = struct.pack("!H", len(topic)) + topic + b"%d" % i
            packets.append(bytes([0x31 if retain else 0x30, len(body)]) + body)
        sock.sendall(b"".join(packets))
        sock.sendall(b"\xc0\0")  # PINGREQ: what came before has been read
        while not sock.recv(2):
            pass


@pytest.fixture(scope="module")
def sluice(shared):
    broker = shared.broker(config="allow_anonymous true\nmax_queued_messages 0")
    publish_all(broker.port, 0, CHANNELS, retain=True)
    sluice = shared.sluice(yaml(broker.port, ROUTES, extra="workers: 1\nlimits: { queue: 128KiB }\n"))
    sluice.broker = broker
    wait_until(lambda: sluice.metric("sluice_channels") == CHANNELS, 60)
    return sluice


async def test_a_snapshot_of_all_comes_in_slices_and_another_client_meanwhile(sluice):
    before = sluice.metric("sluice_catch_up_slices_total")
    async with connect(sluice) as wide, connect(sluice) as other:
        await other.subscribe("many/7/7")
        await other.until("message")
        subscribed = await wide.subscribe("many/#")
        assert subscribed["snapshot"] >= CHANNELS
        first = await wide.until("message")  # and then it stops reading for a while
        for number in range(200):
            await other.send(type="ping", id=number)
            assert await other.recv() == {"type": "pong", "id": number}
        publish_all(sluice.broker.port, 7, 1)  # in the middle of the snapshot
        live = await other.until("message")
        frames = [first]
        while len(frames) < CHANNELS:
            frames.append(await wide.until("message", 30))
        if not any(frame["cursor"] == live["cursor"] for frame in frames):
            frames.append(await wide.until("message"))
        await wide.quiet()
    numbers = [int(frame["cursor"].split(".")[1]) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert {frame["data"] for frame in frames} == set(range(CHANNELS))
    assert [frame["cursor"] for frame in frames if frame["channel"] == "many/7/7"][-1] == live["cursor"]
    assert sluice.metric("sluice_catch_up_slices_total") - before >= CHANNELS // 2048


async def test_resuming_everything_after_a_short_break_takes_one_slice(sluice):
    async with connect(sluice) as ws:
        cursor = ws.welcome["cursor"]
    publish_all(sluice.broker.port, 100, 100)
    wait_until(lambda: requests.get(sluice.http + "/channels/many/99/199").json()["cursor"] != cursor)
    async with connect(sluice) as ws:
        before = sluice.metric("sluice_catch_up_slices_total")
        assert (await ws.subscribe("#", cursor))["recovered"] is True
        assert [(await ws.until("message"))["data"] for _ in range(100)] == list(range(100, 200))
        await ws.quiet()
        assert sluice.metric("sluice_catch_up_slices_total") - before <= 2


async def test_a_resume_that_lost_something_is_told_so_in_slices_too(sluice):
    async with connect(sluice) as ws:
        cursor = ws.welcome["cursor"]
    for _ in range(6):  # more than the history of three
        publish_all(sluice.broker.port, 300, 3000)
    last = wait_until(lambda: [m for m in requests.get(sluice.http + "/channels/many/99/3299/history").json()["messages"]
                               if m["cursor"] != cursor][2:3], 20)[0]
    head = wait_until(lambda: sluice.metric("sluice_messages_total") >= CHANNELS + 18000 and last, 20)
    assert head
    async with connect(sluice) as ws:
        assert (await ws.subscribe("#", cursor))["recovered"] is False
        gaps, messages = set(), []
        while len(messages) < 9000:
            frame = await ws.recv(30)
            if frame["type"] == "gap":
                assert not messages or frame["channel"] not in {m["channel"] for m in messages}
                assert frame["channel"] not in gaps and frame["reason"] == "history"
                gaps.add(frame["channel"])
            else:
                messages.append(frame)
        await ws.quiet()
    assert len(gaps) == 3000
    numbers = [int(frame["cursor"].split(".")[1]) for frame in messages]
    assert numbers == sorted(set(numbers))


def test_the_list_of_all_channels_is_whole(sluice):
    with requests.get(sluice.http + "/channels", stream=True) as answer:
        assert "content-length" not in answer.headers and "sluice-cursor" in answer.headers
        listed = json.loads(answer.content)["channels"]
    assert len(listed) == CHANNELS and {entry["channel"] for entry in listed} == {f"many/{i % 100}/{i}" for i in range(CHANNELS)}
    some = requests.get(sluice.http + "/channels", params={"filter": "many/7/+"})
    names = [entry["channel"] for entry in some.json()["channels"]]
    assert "content-length" in some.headers and len(names) == CHANNELS // 100 and names == sorted(names)
    assert requests.head(sluice.http + "/channels").status_code == 200


def test_a_list_that_nobody_reads_waits(sluice):
    with socket.create_connection(("127.0.0.1", sluice.port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /channels HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
        before = sluice.rss()
        for _ in range(20):
            assert requests.get(sluice.http + "/channels/many/7/7").status_code == 200
        assert sluice.rss() - before < 4 << 20


async def test_a_reload_reaches_every_channel(sluice):
    text = sluice.config.read_text()
    sluice.config.write_text(text.replace("count: 3", "count: 1"))
    sluice.signal(1)
    wait_until(lambda: len(requests.get(sluice.http + "/channels/many/0/300/history").json()["messages"]) == 1, 20)
    wait_until(lambda: len(requests.get(sluice.http + "/channels/many/99/3299/history").json()["messages"]) == 1, 20)


async def test_forgotten_channels_are_told_once(sluice):
    text = sluice.config.read_text()
    async with connect(sluice) as ws:
        cursor = ws.welcome["cursor"]
    publish_all(sluice.broker.port, 5000, 50)
    wait_until(lambda: requests.get(sluice.http + "/channels/many/49/5049").json()["cursor"] != cursor)
    sluice.config.write_text(text.replace("queue: 128KiB", "queue: 128KiB, channels: 20"))
    sluice.signal(1)
    wait_until(lambda: sluice.metric("sluice_channels") == 20, 20)
    async with connect(sluice) as ws:
        await ws.subscribe("many/#", cursor)
        gap = await ws.until("gap")
        assert gap["channel"] == "many/#"
        assert [(await ws.until("message"))["data"] for _ in range(20)] == list(range(5030, 5050))
        await ws.quiet()
