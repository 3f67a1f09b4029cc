"""GET /poll, and resuming across transports."""
import asyncio
import concurrent.futures
import random
import socket
import struct
import threading
import time

import pytest
import requests
from harness import SANITIZED, wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize


def poll(sluice, channels, session=requests, **params):
    channels = [channels] if isinstance(channels, str) else channels
    return session.get(sluice.http + "/poll", params=[("channel", c) for c in channels] + list(params.items()), timeout=70)


def test_waits_for_the_next_message(sluice, client):
    client.publish("rooms/wait/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/wait/t").status_code == 200)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        before = sluice.metric("sluice_sessions")
        held = pool.submit(poll, sluice, "rooms/wait/t", wait=20)
        wait_until(lambda: sluice.metric("sluice_sessions") == before + 1)
        client.publish("rooms/wait/t", "2")
        answer = held.result(10)
    assert answer.status_code == 200
    body = answer.json()
    assert [m["data"] for m in body["messages"]] == [2] and body["gaps"] == []
    assert answer.headers["Sluice-Cursor"] == body["cursor"] == body["messages"][-1]["cursor"]
    assert set(body["messages"][0]) == {"channel", "data", "cursor", "ts"}


def test_204_at_the_end_of_wait_and_its_cursor_loses_nothing(sluice, client):
    start = time.monotonic()
    answer = poll(sluice, "rooms/nothing/t", wait=0.3)
    assert answer.status_code == 204 and answer.content == b"" and time.monotonic() - start >= 0.3
    cursor = answer.headers["Sluice-Cursor"]
    for number in range(3):
        client.publish("rooms/nothing/t", str(number))
    assert collect(sluice, ["rooms/nothing/t"], cursor, 3) == [0, 1, 2]


def collect(sluice, channels, cursor, count, session=requests):
    got = []
    while len(got) < count:
        answer = poll(sluice, channels, session, cursor=cursor, wait=10)
        assert answer.status_code == 200, answer.status_code
        body = answer.json()
        assert body["gaps"] == []
        got += [m["data"] for m in body["messages"]]
        cursor = body["cursor"]
    return got


def test_last_values(sluice, client):
    client.publish("rooms/last/a", "1")
    client.publish("rooms/last/b", '{"x":[1,2]}')
    wait_until(lambda: sluice.get("/channels/rooms/last/b").status_code == 200)
    body = poll(sluice, "rooms/last/+", cursor="last").json()
    assert {m["channel"]: m["data"] for m in body["messages"]} == {"rooms/last/a": 1, "rooms/last/b": {"x": [1, 2]}}
    assert poll(sluice, "rooms/last/none", cursor="last", wait=0).status_code == 204


def test_several_channels_and_filters_in_sequence_order(sluice, client):
    cursor = poll(sluice, "rooms/#", wait=0).headers["Sluice-Cursor"]
    for number in range(30):
        client.publish(f"rooms/order{number % 3}/t", str(number))
    channels = ["rooms/order0/t", "rooms/+/t", "rooms/order1/t", "rooms/order2/#"]
    assert collect(sluice, channels, cursor, 30) == list(range(30))


def test_plus_as_people_type_it(sluice, client):
    client.publish("rooms/typed/t", "5")
    wait_until(lambda: sluice.get("/channels/rooms/typed/t").status_code == 200)
    raw = requests.get(sluice.http + "/poll?channel=rooms/+/t&cursor=last").json()
    encoded = requests.get(sluice.http + "/poll?channel=rooms%2F%2B%2Ft&cursor=last").json()
    assert raw["messages"] == encoded["messages"] and any(m["data"] == 5 for m in raw["messages"])


@pytest.mark.parametrize("query,status,code", [
    ("", 400, "bad_request"), ("?channel=", 400, "bad_request"), ("?channel=a%2", 400, "bad_request"),
    ("?channel=rooms/a/t&cursor=zzz", 400, "bad_request"), ("?channel=rooms/a/t&wait=-1", 400, "bad_request"),
    ("?channel=rooms/a/t&wait=x", 400, "bad_request"), ("?channel=nowhere/at/all/x", 404, "unknown_channel"),
    ("?channel=rooms/a/t&channel=nowhere/at/all/x", 404, "unknown_channel"), ("?channel=a%00b", 400, "bad_request"),
    ("?channel=%ff", 400, "bad_request"), ("?channel=rooms/%c0%af/t", 400, "bad_request"),
])
def test_bad_requests(sluice, query, status, code):
    got, body = sluice.raw("/poll" + query)
    assert (got, body["code"]) == (status, code) and body["message"]


def test_cursor_ahead_is_no_error(sluice, client):
    cursor = poll(sluice, "rooms/ahead/t", wait=0).headers["Sluice-Cursor"]
    epoch, seq = cursor.split(".")
    ahead = f"{epoch}.{int(seq) + 2}"
    assert poll(sluice, "rooms/ahead/t", cursor=ahead, wait=0).headers["Sluice-Cursor"] == ahead
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(poll, sluice, "rooms/ahead/t", cursor=ahead, wait=20)
        for number in range(4):
            client.publish("rooms/ahead/t", str(number))
        assert held.result(10).json()["messages"][0]["data"] == 2


def test_keep_alive_reuses_one_connection(sluice):
    session = requests.Session()
    before = sluice.metric("sluice_requests_total")
    for _ in range(20):
        assert poll(sluice, "rooms/alive/t", session, wait=0).status_code == 204
    adapter = session.get_adapter(sluice.http)
    (pool,) = adapter.poolmanager.pools._container.values()
    assert pool.num_connections == 1 and pool.num_requests == 20
    assert sluice.metric("sluice_requests_total") - before >= 20


def test_vanished_clients_cost_nothing(sluice):
    """A reset ends a poll at once. A FIN alone may come from a client that still reads: its poll ends with its `wait`."""
    before = sluice.metric("sluice_sessions")
    sockets = []
    for number in range(100):
        one = socket.create_connection(("127.0.0.1", sluice.port))
        one.sendall(b"GET /poll?channel=rooms/gone/t&wait=4 HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets.append(one)
    wait_until(lambda: sluice.metric("sluice_sessions") == before + 100)
    for number, one in enumerate(sockets):
        if number % 2:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    wait_until(lambda: sluice.metric("sluice_sessions") <= before + 50)
    wait_until(lambda: sluice.metric("sluice_sessions") == before)
    spent = sluice.cpu()
    wait_until(lambda: poll(sluice, "rooms/gone/t", wait=1).status_code == 204)
    assert sluice.cpu() - spent < 0.5  # and it does not spin


def test_pipelined_polls(sluice, client):
    client.publish("rooms/pipe/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/pipe/t").status_code == 200)
    with socket.create_connection(("127.0.0.1", sluice.port), 10) as one:
        one.sendall(b"GET /poll?channel=rooms/pipe/t&wait=0 HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /poll?channel=rooms/pipe/t&wait=0.2 HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /channels/rooms/pipe/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        bytes = b""
        while True:
            more = one.recv(65536)
            if not more:
                break
            bytes += more
    assert bytes.count(b"HTTP/1.1 204 ") == 2 and bytes.count(b"HTTP/1.1 200 ") == 1
    assert bytes.index(b" 200 ") > bytes.rindex(b" 204 ")


def test_ten_thousand_messages_while_hopping(sluice, client):
    """Each once and in order, whatever the polls meet."""
    total = 2000 if SANITIZED else 10000
    cursor = poll(sluice, "rooms/hop/t", wait=0).headers["Sluice-Cursor"]

    def send():
        for number in range(total):
            client.client.publish("rooms/hop/t", str(number), 1)
            if number % 500 == 499:
                client.publish("rooms/hop/other", "x")  # waits for the acknowledgements

    sender = threading.Thread(target=send)
    sender.start()
    got, session = [], requests.Session()
    while len(got) < total:
        if random.random() < 0.1:
            session = requests.Session()
        wait = random.choice([0, 0, 0.01, 5])
        answer = poll(sluice, "rooms/hop/t", session, cursor=cursor, wait=wait)
        cursor = answer.headers["Sluice-Cursor"]
        if answer.status_code == 200:
            body = answer.json()
            assert body["gaps"] == []
            got += [m["data"] for m in body["messages"]]
    sender.join()
    assert got == list(range(total))


async def test_from_websocket_to_poll_and_back(sluice, client):
    loop = asyncio.get_running_loop()
    got = []
    async with connect(sluice) as ws:
        await ws.subscribe("rooms/cross/+")
        await ws.subscribe("rooms/cross2/t", id=2)
        for number in range(5):
            client.publish("rooms/cross/a", str(number))
            message = await ws.until("message")
            got.append(message["data"])
            cursor = message["cursor"]
    for number in range(5, 10):
        client.publish("rooms/cross2/t" if number % 2 else "rooms/cross/b", str(number))
    channels = ["rooms/cross/+", "rooms/cross2/t"]
    got += await loop.run_in_executor(None, collect, sluice, channels, cursor, 3)
    answer = await loop.run_in_executor(None, lambda: poll(sluice, channels, cursor=cursor, wait=5))
    cursor = answer.json()["cursor"]
    got = got[:5] + [m["data"] for m in answer.json()["messages"]]
    for number in range(10, 15):
        client.publish("rooms/cross/a", str(number))
    async with connect(sluice) as ws:
        answer = await ws.subscribe("rooms/cross/+", cursor)
        assert answer["recovered"] is True and answer["cursor"] == cursor
        got += [(await ws.until("message"))["data"] for _ in range(5)]
        assert (await ws.subscribe("rooms/cross2/t", cursor, id=2))["recovered"] is True
        await ws.quiet()
    assert got == list(range(15))


async def test_overlapping_resumes_double_nothing(sluice, client):
    cursor = poll(sluice, "rooms/#", wait=0).headers["Sluice-Cursor"]
    for number in range(6):
        client.publish("rooms/twofold/t", str(number))
    wait_until(lambda: sluice.get("/channels/rooms/twofold/t").json().get("data") == 5)
    async with connect(sluice) as ws:
        await ws.subscribe("rooms/twofold/#", cursor)
        assert [(await ws.until("message"))["data"] for _ in range(6)] == list(range(6))
        await ws.subscribe("rooms/+/t", cursor, id=2)
        await ws.subscribe("rooms/twofold/t", cursor, id=3)
        await ws.quiet()


# --- gaps ---------------------------------------------------------------------------------------------------------

def test_gap_when_history_is_overrun(sluice, client):
    cursor = poll(sluice, "short/x", wait=0).headers["Sluice-Cursor"]
    for number in range(20):
        client.publish("short/x", str(number))
    wait_until(lambda: sluice.get("/channels/short/x").json().get("data") == 19)
    body = poll(sluice, "short/x", cursor=cursor).json()
    (gap,) = body["gaps"]
    assert gap["channel"] == "short/x" and gap["reason"] == "history" and gap["from"] == cursor
    assert [m["data"] for m in body["messages"]] == [15, 16, 17, 18, 19]
    assert int(gap["to"].split(".")[1]) < int(body["messages"][0]["cursor"].split(".")[1])
    assert poll(sluice, "short/x", cursor=body["cursor"], wait=0).status_code == 204


async def test_gap_on_the_websocket_comes_before_what_is_left(sluice, client):
    async with connect(sluice) as ws:
        cursor = (await ws.subscribe("short/y"))["cursor"]
    for number in range(9):
        client.publish("short/y", str(number))
    wait_until(lambda: sluice.get("/channels/short/y").json().get("data") == 8)
    async with connect(sluice) as ws:
        assert (await ws.subscribe("short/y", cursor))["recovered"] is False
        gap = await ws.until("gap")
        assert gap["reason"] == "history" and gap["channel"] == "short/y"
        assert [(await ws.until("message"))["data"] for _ in range(5)] == [4, 5, 6, 7, 8]
        await ws.quiet()


async def test_gap_between_epochs_then_the_last_value(sluice, client):
    client.publish("rooms/epoch/t", "1")
    client.publish("rooms/epoch/t", "2")
    wait_until(lambda: sluice.get("/channels/rooms/epoch/t").json().get("data") == 2)
    body = poll(sluice, "rooms/epoch/t", cursor="othertime.17").json()
    assert [g["reason"] for g in body["gaps"]] == ["epoch"] and body["gaps"][0]["from"] == "othertime.17"
    assert [m["data"] for m in body["messages"]] == [2]
    async with connect(sluice) as ws:
        assert (await ws.subscribe("rooms/epoch/t", "othertime.17"))["recovered"] is False
        assert (await ws.until("gap"))["reason"] == "epoch"
        assert (await ws.until("message"))["data"] == 2
        await ws.quiet()


def test_sigterm_answers_held_polls(world):
    from conftest import yaml
    gateway = world.sluice(yaml(world.broker().port))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = [pool.submit(poll, gateway, "rooms/a/t", wait=50) for _ in range(3)]
        wait_until(lambda: gateway.metric("sluice_sessions") == 3)
        start = time.monotonic()
        gateway.stop()
        assert time.monotonic() - start < 5
        for one in held:
            assert one.result(5).status_code == 204 and one.result().headers["Sluice-Cursor"]


def test_a_backlog_larger_than_one_answer(sluice, client):
    cursor = poll(sluice, "rooms/large/t", wait=0).headers["Sluice-Cursor"]
    payload = "x" * 3000
    for number in range(300):
        client.client.publish("rooms/large/t", f"{number} {payload}", 1)
    client.publish("rooms/large/t", "end")
    wait_until(lambda: sluice.get("/channels/rooms/large/t").json().get("data") == "end")
    got, answers = [], 0
    while "end" not in got:
        body = poll(sluice, ["rooms/large/t", "rooms/large/+"], cursor=cursor, wait=5).json()
        assert body["gaps"] == []
        got += [m["data"].split()[0] for m in body["messages"]]
        cursor = body["cursor"]
        answers += 1
    assert got == [str(number) for number in range(300)] + ["end"] and answers > 2


def test_gap_between_epochs_of_a_filter(sluice, client):
    """A channel of the old epoch may come back after this answer, so the filter has a gap of its own beside its channels'."""
    client.publish("short/epoch", "1")
    wait_until(lambda: sluice.get("/channels/short/epoch").status_code == 200)
    gaps = poll(sluice, "short/#", cursor="othertime.17").json()["gaps"]
    assert {g["reason"] for g in gaps} == {"epoch"} and {g["from"] for g in gaps} == {"othertime.17"}
    assert {"short/#", "short/epoch"} <= {g["channel"] for g in gaps}
