"""What an attacker would try against a gateway with doors, each expecting the refusal (issue: Locked doors, 8)."""
import concurrent.futures
import json
import os
import pathlib
import socket
import struct

import pytest
import requests
from harness import SANITIZED, descriptors, wait_until
from locked import Doors
from test_auth import code
from test_websocket import ILLEGAL, frame, raw_handshake, read_close
from wsclient import Ws, connect, dial

pytestmark = pytest.mark.memory


@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, auth="  hello_timeout: 2s\n", extra="workers: 2\n"))
    return doors


SECRET = "no-one-may-see-this"
TRICKS = ["/channels/rooms/../secret/a", "/channels/rooms/%2e%2e/secret/a", "/channels/rooms/..%2fsecret/a", "/channels/%2fsecret/a",
          "/channels//secret/a", "/channels/./secret/a", "/channels/secret%2fa", "/channels/secret/a/", "/channels/secret/a/..",
          "/channels/secret/a%00", "/channels/secret/a%00/rooms", "/channels/rooms%00/../secret/a", "/channels/secret/a?", "/channels/secret/a;x",
          "/channels/%73ecret/a", "/channels/%c0%ae%c0%ae/secret/a", "/channels/secret%c0%afa", "/channels/%e0%80%afsecret/a", "/channels/secret%ed%a0%80/a",
          "/channels/secret/%f4%90%80%80", "/channels/secret/a%", "/channels/secret/a%2", "/channels/secret/a%zz", "//channels/secret/a",
          "/CHANNELS/secret/a", "/channels/SECRET/a", "http://x/channels/secret/a", "/channels/secret/a/history", "/channels/secret/a/history/history",
          "/channels/rooms/k/t/../../../secret/a", "/poll?channel=secret/a&cursor=last", "/poll?channel=%73ecret/a&cursor=last",
          "/poll?channel=rooms/%23&channel=secret/a&cursor=last", "/poll?channel=rooms/../secret/a&cursor=last", "/channels?filter=secret/%23",
          "/poll?channel=rooms/k/t%00secret/a&cursor=last", "/..%2fchannels/secret/a", "/client.js/../channels/secret/a", "/metrics/../channels/secret/a"]


@pytest.mark.parametrize("target", TRICKS)
def test_path_tricks(doors, client, target):
    gateway = doors.gateway
    client.publish("secret/a", SECRET)
    client.publish("secret/a/", SECRET)
    client.publish("/secret/a", SECRET)
    wait_until(lambda: gateway.get("/channels/secret/a", headers=doors.bearer("admin")).json().get("data") == SECRET)
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as one:
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {doors.token('viewer')}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while bytes := one.recv(65536):
            answer += bytes
    status = int(answer.split()[1])
    assert SECRET.encode() not in answer
    assert status in (400, 403, 404) or (status == 200 and b'"channels":[]' in answer), answer


def test_header_floods(doors):
    gateway = doors.gateway
    before = gateway.rss()
    for flood in (b"A: b\r\n" * 5000, b"A: " + b"b" * 1000000 + b"\r\n", b"Authorization: Bearer " + b"a" * 200000 + b"\r\n",
                  b"Cookie: " + b"token=x; " * 20000 + b"\r\n", b"Origin: " + b"http://" + b"o" * 100000 + b"\r\n", b":\r\n" * 20000):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", gateway.port), 10) as one:
                try:
                    one.sendall(b"GET /channels HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n")
                    answer = one.recv(1000)
                except (BrokenPipeError, ConnectionResetError):
                    continue
                assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer
    assert gateway.get("/healthz").status_code == 200
    assert SANITIZED or gateway.rss() - before < 16 << 20


def test_half_open_handshakes_in_turn(doors):
    """100,000 of them: begun, never finished, reset. Nothing is left of them."""
    gateway, count = doors.gateway, 5000 if SANITIZED else 100000
    pieces = [b"", b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upg", b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
              b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /ws HTTP/1.1\r\n" + b"A: b\r\n" * 30]
    linger = struct.pack("ii", 1, 0)
    opened = lambda: descriptors(gateway.child.pid)
    warm = before = None
    for number in range(count):
        with socket.socket() as one:
            one.connect(("127.0.0.1", gateway.port))
            one.send(pieces[number % len(pieces)])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if number == count // 10:
            wait_until(lambda: gateway.metric("sluice_connections") <= 2)
            warm, before = gateway.rss(), opened()
    wait_until(lambda: gateway.metric("sluice_connections") <= 2)
    assert opened() <= before + 2
    assert SANITIZED or gateway.rss() - warm < 4 << 20
    assert gateway.get("/channels/rooms/k/t", headers=doors.bearer("viewer")).status_code in (200, 404)


@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal_frames_before_hello(doors, name):
    bytes, wanted = ILLEGAL[name]
    reader, writer = await raw_handshake(doors.gateway)
    writer.write(bytes)
    assert await read_close(reader) == wanted
    writer.close()


@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal_frames_after_hello(doors, name):
    bytes, wanted = ILLEGAL[name]
    reader, writer = await raw_handshake(doors.gateway)
    writer.write(frame(1, json.dumps({"type": "hello", "token": doors.token("viewer")}).encode()) + bytes)
    assert await read_close(reader) == wanted
    writer.close()


DEEP = ["[" * 10000 + "]" * 10000, '{"a":' * 10000 + "1" + "}" * 10000, "[" * 10000]


@pytest.mark.parametrize("deep", DEEP, ids=["lists", "objects", "open"])
async def test_json_of_depth_10000(doors, deep):
    async with connect(doors.gateway) as ws:
        for text in (deep, '{"type":"hello","token":%s}' % deep, '{"type":"publish","id":1,"channel":"lamps/1","data":%s}' % deep):
            await ws.socket.send(text)
            assert (await ws.until("error"))["code"] in ("bad_request", "not_json")
        await ws.send(type="hello", id=1, token=doors.token("switcher"))
        await ws.until("hello")
        await ws.socket.send('{"type":"publish","id":1,"channel":"lamps/1","data":%s}' % deep)
        assert (await ws.until("error"))["code"] in ("bad_request", "not_json")
    answer = doors.gateway.post("/channels/lamps/1?as=json", deep.encode(), headers=doors.bearer("switcher"))
    assert answer.status_code == 400


def test_ticket_is_used_once_however_many_try(doors):
    """Forty at the same time, over two workers."""
    gateway = doors.gateway
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer")).json()["ticket"]
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: requests.get(f"{gateway.http}/poll?channel=rooms/%23&wait=0&ticket={ticket}", timeout=15).status_code, range(40)))
    assert sorted(answers) == [204] + [401] * 39


def test_one_identity_does_not_take_all_tickets(doors):
    """Tokens are many, who they are for is one; and whoever else needs a ticket gets it."""
    gateway = doors.gateway
    tokens = [doors.bearer("viewer", sub="greedy", number=number) for number in range(2)]
    with requests.Session() as session:
        for number in range(1024):
            assert session.post(gateway.http + "/ticket", headers=tokens[number % 2], timeout=15).status_code == 200
        answer = session.post(gateway.http + "/ticket", headers=tokens[0], timeout=15)
        assert code(answer, 429) == "rate_limited" and answer.headers["Retry-After"] == "1"
        assert session.post(gateway.http + "/ticket", headers=doors.bearer("viewer", sub="modest"), timeout=15).status_code == 200
    assert gateway.metric("sluice_rate_limited_total") == 1
    assert "a ticket was refused" in gateway.text() and "greedy" not in gateway.text()


def test_no_credential_in_log_or_metrics(doors):
    gateway = doors.gateway
    token, bad = doors.token("viewer"), "slk_" + "B" * 43
    gateway.get("/channels", headers={"Authorization": "Bearer " + token})
    gateway.get("/channels", headers={"Authorization": "Bearer " + bad})
    gateway.get("/channels?ticket=" + "t" * 43)
    text = gateway.text() + gateway.get("/metrics").text
    for secret in (token, token.split(".")[2], bad, "t" * 43, doors.secret, doors.key):
        assert secret not in text


async def test_rates(world):
    doors = Doors(world.directory)
    gateway = world.sluice(doors.yaml(world.broker().port, auth="  anonymous: [switcher]\n", extra="limits: { message_rate: 20, publish_rate: 5 }\n"))
    async with connect(gateway) as ws:
        for number in range(60):
            await ws.send(type="ping", id=number)
        answers = [await ws.recv() for _ in range(60)]
        refused = [a for a in answers if a["type"] == "error"]
        assert 30 <= len(refused) <= 40 and all(a["code"] == "rate_limited" for a in refused)
        assert {a["id"] for a in answers} == set(range(60)) # none is lost in silence
        # A flood is let go.
        for number in range(3000):
            await ws.socket.send('{"type":"ping"}')
        from wsclient import closed
        assert await closed(ws.socket) == (1008, "rate_limited: too many frames")
    async with connect(gateway) as ws:
        for number in range(10):
            await ws.send(type="publish", id=number, channel="lamps/1", data=number)
        answers = [await ws.recv() for _ in range(10)]
        assert 4 <= len([a for a in answers if a["type"] == "published"]) <= 6
        assert {a["code"] for a in answers if a["type"] == "error"} == {"rate_limited"}
    statuses = [gateway.post("/channels/lamps/1", b"1") for _ in range(20)]
    limited = [a for a in statuses if a.status_code == 429]
    assert len(limited) >= 10 and limited[0].json()["code"] == "rate_limited" and "Retry-After" in limited[0].headers
    assert gateway.metric("sluice_rate_limited_total") > 50
