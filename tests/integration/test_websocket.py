"""GET /ws: the multiplexed JSON protocol."""
import asyncio
import json
import socket
import struct

import pytest
import websockets
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.memory


async def test_welcome_and_subprotocol(sluice):
    async with connect(sluice, subprotocols=["sluice.v1"]) as ws:
        assert ws.socket.subprotocol == "sluice.v1"
    async with connect(sluice) as ws:
        assert ws.socket.subprotocol is None


async def test_welcome_comes_with_the_handshakes_answer(sluice):
    """In one segment: a client is greeted without another round trip, and connecting costs one send less."""
    with socket.create_connection(("127.0.0.1", sluice.port), 15) as raw:
        raw.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head, frames = raw.recv(4096).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b'{"type":"welcome"' in frames


async def test_live_message(sluice, client):
    async with connect(sluice) as ws:
        answer = await ws.subscribe("rooms/live/t")
        assert answer["recovered"] is False and answer["snapshot"] == 0
        client.publish("rooms/live/t", "21.5")
        message = await ws.until("message")
        assert message["channel"] == "rooms/live/t" and message["data"] == 21.5
        assert "retained" not in message and message["ts"] > 1_600_000_000_000
        epoch, seq = message["cursor"].split(".")
        assert answer["cursor"].split(".")[0] == epoch and int(seq) > int(answer["cursor"].split(".")[1])


async def test_ids_of_both_kinds(sluice):
    async with connect(sluice) as ws:
        for id in (0, -5, 9007199254740993, "x", "ü\n\"", ""):
            await ws.send(type="ping", id=id)
            assert await ws.recv() == {"type": "pong", "id": id}
        for id in (1.5, [], {}, True):
            await ws.send(type="ping", id=id)
            assert (await ws.until("error"))["code"] == "bad_request"


async def test_wildcards_paint_at_once(sluice, client):
    client.publish("rooms/paint1/t", "1")
    client.publish("rooms/paint2/t", "2")
    client.publish("rooms/paint2/t", "3")
    wait_until(lambda: sluice.get("/channels/rooms/paint2/t").json().get("data") == 3)
    async with connect(sluice) as ws:
        answer = await ws.subscribe("rooms/+/t")
        values = {}
        for _ in range(answer["snapshot"]):
            message = await ws.until("message")
            values[message["channel"]] = message["data"]
        assert values["rooms/paint1/t"] == 1 and values["rooms/paint2/t"] == 3
        await ws.quiet()


async def test_overlapping_filters_deliver_once(sluice, client):
    async with connect(sluice) as ws:
        for id, channel in enumerate(["rooms/over/t", "rooms/+/t", "rooms/over/#", "rooms/#"]):
            answer = await ws.subscribe(channel, id=id)
            for _ in range(answer["snapshot"]):
                await ws.until("message")
        for number in range(5):
            client.publish("rooms/over/t", str(number))
        assert [(await ws.until("message"))["data"] for _ in range(5)] == [0, 1, 2, 3, 4]
        await ws.quiet()


async def test_unsubscribe(sluice, client):
    async with connect(sluice) as ws:
        await ws.subscribe("rooms/unsub/t")
        await ws.send(type="unsubscribe", id=2, channel="rooms/unsub/t")
        assert await ws.recv() == {"type": "unsubscribed", "id": 2}
        client.publish("rooms/unsub/t", "1")
        wait_until(lambda: sluice.get("/channels/rooms/unsub/t").status_code == 200)
        await ws.quiet()
        await ws.send(type="unsubscribe", id=3, channel="rooms/unsub/t")
        assert (await ws.until("error"))["code"] == "bad_request"


async def test_second_subscriber_and_second_subscribe_get_the_last_value(sluice, client):
    client.publish("rooms/again/t", "7")
    wait_until(lambda: sluice.get("/channels/rooms/again/t").status_code == 200)
    async with connect(sluice) as one, connect(sluice) as two:
        for ws in (one, two, one):
            assert (await ws.subscribe("rooms/again/t"))["snapshot"] == 1
            assert (await ws.until("message"))["data"] == 7


BAD_FRAMES = [
    ("{", "bad_request"), ("[]", "bad_request"), ("null", "bad_request"), ("{}", "bad_request"),
    ('{"type":7}', "bad_request"), ('{"type":"nonsense","id":1}', "bad_request"),
    ('{"type":"subscribe","id":1}', "bad_request"), ('{"type":"subscribe","id":1,"channel":7}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":"a/#/b"}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":""}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":"rooms\\u0000x"}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":"rooms/a/t","cursor":"rubbish"}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":"rooms/a/t","cursor":"a.99999999999999999999999"}', "bad_request"),
    ('{"type":"subscribe","id":1,"channel":"nowhere/x/y/z"}', "unknown_channel"),
    ('{"type":"subscribe","id":1,"channel":"nowhere/#"}', "unknown_channel"),
    ('{"type":"publish","id":1,"channel":"lamps/1"}', "bad_request"),
    ('{"type":"publish","id":1,"channel":"lamps/+","data":1}', "bad_request"),
    ("[" * 10000 + "]" * 10000, "bad_request"),
]


@pytest.mark.parametrize("frame,code", BAD_FRAMES)
async def test_bad_frames_are_answered_and_survived(sluice, frame, code):
    async with connect(sluice) as ws:
        await ws.socket.send(frame)
        error = await ws.until("error")
        assert error["code"] == code and error["message"]
        if '"id":1' in frame:
            assert error["id"] == 1
        await ws.quiet()


async def test_binary_frame_is_an_error(sluice):
    async with connect(sluice) as ws:
        await ws.socket.send(b"\x00\xff")
        assert (await ws.until("error"))["code"] == "bad_request"


async def test_fragmented_frames(sluice):
    async with connect(sluice) as ws:
        await ws.socket.send(['{"type":', '"ping",', "", '"id":"frag"}'])
        assert await ws.recv() == {"type": "pong", "id": "frag"}


async def test_control_ping_and_heartbeat(sluice):
    async with connect(sluice, ping_interval=None) as ws:
        waiter = await ws.socket.ping(b"hello")
        await asyncio.wait_for(waiter, 5)
    # The heartbeat of this gateway is 1 s: a ping must come by itself.
    reader, writer = await raw_handshake(sluice)
    assert (await asyncio.wait_for(reader.readexactly(2), 5))[0] == 0x89
    writer.close()


async def test_subscription_limit(world):
    broker = world.broker()
    from conftest import yaml
    gateway = world.sluice(yaml(broker.port, extra="limits: { subscriptions: 3 }\n"))
    async with connect(gateway) as ws:
        for number in range(3):
            await ws.subscribe(f"rooms/{number}/t")
        await ws.send(type="subscribe", id=9, channel="rooms/9/t")
        error = await ws.until("error")
        assert error["code"] == "limit_reached" and error["id"] == 9
        await ws.subscribe("rooms/1/t")  # an old one again is none more


# --- below the protocol ---------------------------------------------------------------------------------------------

async def raw_handshake(sluice, path="/ws"):
    reader, writer = await asyncio.open_connection("127.0.0.1", sluice.port)
    writer.write((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head  # RFC 6455 section 1.3
    if path == "/ws":
        first = await reader.readexactly(2)
        await reader.readexactly(first[1] if first[1] < 126 else struct.unpack(">H", await reader.readexactly(2))[0])
    return reader, writer


def frame(opcode, payload=b"", fin=True, mask=b"\x01\x02\x03\x04", rsv=0, length=None):
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + (mask or b"") + payload


ILLEGAL = {
    "unmasked": (frame(1, b"{}", mask=None), 1002),
    "rsv1": (frame(1, b"{}", rsv=4), 1002),
    "rsv3": (frame(1, b"{}", rsv=1), 1002),
    "opcode 3": (frame(3), 1002),
    "opcode 11": (frame(11), 1002),
    "long ping": (frame(9, b"x" * 126), 1002),
    "fragmented ping": (frame(9, b"x", fin=False), 1002),
    "continuation of nothing": (frame(0, b"x"), 1002),
    "text inside a message": (frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
    "length not shortest, 16 bit": (b"\x81\xfe\x00\x05" + b"\0\0\0\0hello", 1002),
    "length not shortest, 64 bit": (b"\x81\xff" + struct.pack(">Q", 200) + b"\0\0\0\0" + b"x" * 200, 1002),
    "length with the top bit": (b"\x81\xff" + struct.pack(">Q", 1 << 63), 1002),
    "too large by its header alone": (frame(1, b"", length=2 * 1024 * 1024), 1009),
    "too large in fragments": (frame(1, b"x" * 700000, fin=False) + frame(0, b"x" * 700000), 1009),
    "text is not UTF-8": (frame(1, b"\xc0\xaf"), 1007),
    "UTF-8 broken across fragments": (frame(1, b"\xe2\x82", fin=False) + frame(0, b"x"), 1007),
    "close of one byte": (frame(8, b"x"), 1002),
    "close code 1005": (frame(8, struct.pack(">H", 1005)), 1002),
    "close code 999": (frame(8, struct.pack(">H", 999)), 1002),
    "close reason is not UTF-8": (frame(8, struct.pack(">H", 1000) + b"\xff"), 1007),
}


async def read_close(reader):
    """Reads frames until the close frame; returns its code."""
    while True:
        first = await asyncio.wait_for(reader.readexactly(2), 10)
        length = first[1]
        if length == 126:
            length = struct.unpack(">H", await reader.readexactly(2))[0]
        payload = await reader.readexactly(length)
        if first[0] == 0x88:
            return struct.unpack(">H", payload[:2])[0] if payload else None


@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal_frames(sluice, name):
    bytes, code = ILLEGAL[name]
    reader, writer = await raw_handshake(sluice)
    writer.write(bytes)
    assert await read_close(reader) == code
    assert await asyncio.wait_for(reader.read(), 10) == b""  # and the connection ends
    writer.close()


async def test_close_handshake_is_answered(sluice):
    reader, writer = await raw_handshake(sluice)
    writer.write(frame(8, struct.pack(">H", 1000) + b"bye"))
    assert await read_close(reader) == 1000
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_a_message_octet_by_octet(sluice):
    reader, writer = await raw_handshake(sluice)
    for byte in frame(1, b'{"type":"ping","id":1}'):
        writer.write(bytes([byte]))
        await writer.drain()
    while True:
        first = await asyncio.wait_for(reader.readexactly(2), 10)
        payload = await reader.readexactly(first[1])
        if first[0] == 0x81:
            assert json.loads(payload) == {"type": "pong", "id": 1}
            break
    writer.close()


@pytest.mark.parametrize("change,status", [
    ({"Sec-WebSocket-Version": "8"}, 426), ({"Sec-WebSocket-Key": "short"}, 400), ({"Sec-WebSocket-Key": None}, 400),
    ({"Upgrade": None}, 400),
])
def test_refused_handshakes(sluice, change, status):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    headers.update(change)
    answer = sluice.get("/ws", headers={key: value for key, value in headers.items() if value})
    assert answer.status_code == status and answer.json()["code"] == "bad_request"


async def test_client_killed_in_the_middle_of_a_frame(sluice):
    before = sluice.metric("sluice_sessions")
    sockets = []
    for _ in range(20):
        reader, writer = await raw_handshake(sluice)
        writer.write(frame(1, b'{"type":"ping"}')[:7])
        await writer.drain()
        sockets.append(writer)
    wait_until(lambda: sluice.metric("sluice_sessions") == before + 20)
    for writer in sockets:  # a reset, not a polite end
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    wait_until(lambda: sluice.metric("sluice_sessions") == before)


async def test_sigterm_closes_with_1001(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/a/t")
        loop = asyncio.get_running_loop()
        stopped = loop.run_in_executor(None, gateway.stop)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == 1001
        await stopped
