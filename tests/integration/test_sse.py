"""GET /sse: Server-Sent Events, read as the standard says (WHATWG HTML, 9.2.6)."""
import asyncio
import json
import socket

import pytest
import requests
from conftest import yaml
from harness import SANITIZED, wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize


class Stream:
    """Interprets a text/event-stream line by line, as a browser does."""

    def __init__(self, sluice, query, last_event_id=None, expect=200, headers={}):
        headers = {"Accept": "text/event-stream", **headers}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self.answer = requests.get(sluice.http + "/sse" + query, headers=headers, stream=True, timeout=15)
        assert self.answer.status_code == expect
        if expect == 200:
            assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.lines = self.answer.iter_lines(chunk_size=1)
        self.last_event_id, self.retry = "", None

    def event(self):
        """The next event: (type, data)."""
        name, data = "", []
        for line in self.lines:
            line = line.decode("utf-8")
            if not line:
                if data:
                    return name or "message", json.loads("\n".join(data))
                name = ""
                continue
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_event_id = value
            elif field == "retry":
                self.retry = int(value)
        return None

    def message(self):
        name, data = self.event()
        assert name == "message", (name, data)
        assert data["cursor"] == self.last_event_id
        return data

    def close(self):
        self.answer.close()


def test_last_values_then_live(sluice, client):
    client.publish("rooms/sse/a", "1")
    client.publish("rooms/sse/b", '{"x":\n [1,\r\n2]}')
    wait_until(lambda: sluice.get("/channels/rooms/sse/b").status_code == 200)
    stream = Stream(sluice, "?channel=rooms/sse/+")
    assert [stream.message()["data"] for _ in range(2)] == [1, {"x": [1, 2]}]
    client.publish("rooms/sse/a", "2")
    message = stream.message()
    assert message["data"] == 2 and set(message) == {"channel", "data", "cursor", "ts"}
    assert 1000 <= stream.retry <= 3000
    stream.close()


def test_payloads_that_look_like_the_format(sluice, client):
    stream = Stream(sluice, "?channel=rooms/tricky/t")
    for payload in ["x\n\nevent: evil\ndata: y\nid: 9\nretry: 1\n\n", ": comment", " leading and trailing ", "a\rb\r\nc",
                    "\ufeffbom", "\u2028\u2029", '{"a":"\\n\\ndata: x"}', ""]:
        client.publish("rooms/tricky/t", payload.encode())
        data = stream.message()["data"]
        assert data == (json.loads(payload) if payload[:1] == "{" else payload or None)
    stream.close()


def test_last_event_id_resumes_and_wins_over_the_cursor(sluice, client):
    stream = Stream(sluice, "?channel=rooms/resume/t")
    client.publish("rooms/resume/t", "0")
    assert stream.message()["data"] == 0
    first = stream.last_event_id
    stream.close()
    for number in range(1, 6):
        client.publish("rooms/resume/t", str(number))
    stream = Stream(sluice, f"?channel=rooms/resume/t&cursor={first}")
    assert [stream.message()["data"] for _ in range(5)] == [1, 2, 3, 4, 5]
    last = stream.last_event_id
    stream.close()
    client.publish("rooms/resume/t", "6")
    stream = Stream(sluice, f"?channel=rooms/resume/t&cursor={first}", last_event_id=last)
    assert stream.message()["data"] == 6
    stream.close()


def test_a_silent_stream_has_a_place_too(sluice, client):
    stream = Stream(sluice, "?channel=rooms/silent/t")
    for line in stream.lines:
        if line.startswith(b"id: "):
            place = line[4:].decode()
            break
    stream.close()
    client.publish("rooms/silent/t", "1")
    client.publish("rooms/silent/t", "2")
    stream = Stream(sluice, "?channel=rooms/silent/t", last_event_id=place)
    assert [stream.message()["data"] for _ in range(2)] == [1, 2]
    stream.close()


@pytest.mark.parametrize("place,reason", [("othertime.5", "epoch"), ("rubbish that no gateway gave", "epoch")])
def test_gap_event(sluice, client, place, reason):
    client.publish("rooms/gap/t", "7")
    wait_until(lambda: sluice.get("/channels/rooms/gap/t").status_code == 200)
    stream = Stream(sluice, "?channel=rooms/gap/t", last_event_id=place)
    name, gap = stream.event()
    assert name == "gap" and gap["reason"] == reason and gap["channel"] == "rooms/gap/t"
    assert stream.message()["data"] == 7
    stream.close()


@pytest.mark.parametrize("query,status,code", [("", 400, "bad_request"), ("?channel=nowhere/at/all/x", 404, "unknown_channel"),
                                               ("?channel=rooms/a/t&cursor=zz", 400, "bad_request")])
def test_refusals(sluice, query, status, code):
    assert Stream(sluice, query, expect=status).answer.json()["code"] == code
    assert requests.post(sluice.http + "/sse?channel=rooms/a/t").status_code == 405


def test_keep_alive_comments(sluice):
    stream = Stream(sluice, "?channel=rooms/quiet/t")  # this gateway's heartbeat is 1 s
    assert any(line == b":" for line in stream.lines)
    stream.close()


async def test_one_cursor_over_three_transports(sluice, client):
    got = []
    async with connect(sluice) as ws:
        await ws.subscribe("rooms/three/t")
        client.publish("rooms/three/t", "0")
        cursor = (await ws.until("message"))["cursor"]
    client.publish("rooms/three/t", "1")
    loop = asyncio.get_running_loop()

    def over_sse():
        stream = Stream(sluice, "?channel=rooms/three/t", last_event_id=cursor)
        got.append(stream.message()["data"])
        stream.close()
        return stream.last_event_id
    place = await loop.run_in_executor(None, over_sse)
    client.publish("rooms/three/t", "2")
    body = (await loop.run_in_executor(None, lambda: sluice.get(f"/poll?channel=rooms/three/t&cursor={place}"))).json()
    got += [m["data"] for m in body["messages"]]
    assert got == [1, 2]


def test_upstream_events_and_end(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    stream = Stream(gateway, "?channel=rooms/a/t")
    broker.kill()
    name, data = stream.event()
    assert name == "upstream" and data["state"] == "down"
    late = Stream(gateway, "?channel=rooms/a/t")
    assert late.event()[1]["state"] == "down"
    broker.start()
    assert stream.event()[1]["state"] == "up"
    gateway.stop()
    name, data = stream.event()
    assert name == "error" and data["code"] == "going_away"
    assert stream.event() is None


def test_vanished_streams_cost_nothing(sluice):
    before = sluice.metric("sluice_sessions")
    held = []
    for _ in range(50):
        one = socket.create_connection(("127.0.0.1", sluice.port), 10)
        one.sendall(b"GET /sse?channel=rooms/gone/t HTTP/1.1\r\nHost: x\r\n\r\n")
        held.append(one)
    wait_until(lambda: sluice.metric("sluice_sessions") == before + 50)
    for one in held:
        one.close()
    wait_until(lambda: sluice.metric("sluice_sessions") == before)


def test_many_messages_in_order(sluice, client):
    total = 1000 if SANITIZED else 5000
    stream = Stream(sluice, "?channel=rooms/many/t")
    for number in range(total):
        client.client.publish("rooms/many/t", str(number), 1)
    assert [stream.message()["data"] for _ in range(total)] == list(range(total))
    stream.close()
