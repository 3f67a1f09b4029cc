"""permessage-deflate (web.compression) with stock clients, and what a client that means ill would send compressed."""
import asyncio
import json
import random
import socket
import ssl
import zlib

import pytest
import websockets
from conftest import yaml
from harness import SANITIZED, wait_until
from test_reload import reload
from test_websocket import frame, read_close
from tlsfiles import certificate, ports, with_listeners
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from wsclient import Ws, closed, connect

pytestmark = pytest.mark.memory
ON = "web: { heartbeat: 30s, compression: true, compression_min: 100 }\n"
MESSAGES = 60 if SANITIZED else 300
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(scope="module")
def on(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra=ON + "workers: 2\n"))


def answer(socket):
    """The extension header of the 101, whatever this version of websockets calls it."""
    headers = socket.response.headers if hasattr(socket, "response") else socket.response_headers
    return headers.get("Sec-WebSocket-Extensions")


def deflate(data, level=6, flush=zlib.Z_SYNC_FLUSH):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(flush))[:-4]


def reading(number, size=400):
    """As a sensor sends it, of about that size."""
    chance = random.Random(number)
    value = {"n": number, "battery": chance.randrange(100), "linkquality": chance.randrange(255), "temperature": chance.randrange(4000) / 100}
    value |= {f"measured_value_{i}": chance.randrange(10000) for i in range((size - 75) // 28)}
    return value


async def test_off_by_default(sluice, client):
    async with connect(sluice) as ws:  # it offers
        assert answer(ws.socket) is None
        await ws.subscribe("rooms/off/t")
        client.publish("rooms/off/t", json.dumps(reading(1)))
        assert (await ws.until("message"))["data"] == reading(1)
    assert sluice.metric("sluice_compressed_total") == 0 and sluice.metric("sluice_compressed_bytes") == 0


async def test_negotiated_or_not(on):
    async with connect(on) as ws:
        assert answer(ws.socket).startswith(ANSWER)
        await ws.quiet()
    async with connect(on, extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=13)]) as ws:
        assert answer(ws.socket) == ANSWER + "; server_max_window_bits=12"
        await ws.quiet()
    async with connect(on, compression=None) as ws:
        assert answer(ws.socket) is None
        await ws.quiet()
    async with websockets.connect(on.ws + "/channels/rooms/none/t") as ws:
        assert answer(ws).startswith(ANSWER)


async def test_every_message_arrives_and_is_compressed_once(on, client):
    many, before = 20, on.metric("sluice_compressed_total")
    sizes = [20, 50, 300, 400, 700, 1500, 4000, 70000]
    wanted = [reading(number, sizes[number % len(sizes)]) for number in range(MESSAGES)]

    async def follow(ws):
        return [await ws.until("message", 30) for _ in wanted]

    async with connect(on, compression=None) as plain:
        sockets = [connect(on) for _ in range(many)]
        try:
            all_ws = [plain] + [await socket.__aenter__() for socket in sockets]
            for ws in all_ws:
                await ws.subscribe("rooms/once/t")
            cursor = (await plain.subscribe("rooms/once/t"))["cursor"]
            readers = asyncio.gather(*[follow(ws) for ws in all_ws])
            sent = on.metric("sluice_sent_bytes_total")
            await asyncio.to_thread(lambda: [client.publish("rooms/once/t", json.dumps(value)) for value in wanted])
            got = await readers
        finally:
            for socket in sockets:
                await socket.__aexit__(None, None, None)
    assert [message["data"] for message in got[0]] == wanted
    assert all(other == got[0] for other in got[1:])
    large = sum(len(json.dumps(message)) >= 100 for message in got[0])
    assert large >= MESSAGES * 3 / 4
    made = on.metric("sluice_compressed_total") - before
    assert made <= MESSAGES and made >= large - MESSAGES / 10  # our JSON has blanks that theirs has not
    bytes = sum(len(json.dumps(message)) for message in got[0])
    assert on.metric("sluice_sent_bytes_total") - sent < bytes * (1 + many * 0.7)

    # Resuming takes the same from history, half of it and all of it, and makes nothing new.
    for at in (None, MESSAGES // 2):
        async with connect(on) as ws:
            resumed = await ws.subscribe("rooms/once/t", cursor=cursor if at is None else got[0][at]["cursor"])
            assert resumed["recovered"] is True
            rest = got[0] if at is None else got[0][at + 1:]
            assert [await ws.until("message") for _ in rest] == rest
            await ws.quiet()
    assert on.metric("sluice_compressed_total") - before == made


async def test_memory_goes_with_the_messages(on, client):
    async with connect(on) as ws:
        await ws.subscribe("short/gone")
        before = on.metric("sluice_compressed_bytes")
        for number in range(100):
            client.publish("short/gone", json.dumps(reading(number, 1000)))
            assert (await ws.until("message"))["data"] == reading(number, 1000)
        assert 300 < on.metric("sluice_compressed_bytes") - before < 7 * 1200  # history: { count: 5 }, and the last value
        assert on.metric("sluice_compressed_total") >= 100


async def test_raw_sockets_text_and_binary(on, client):
    text, binary = json.dumps(reading(7, 3000)), bytes(range(256)) * 20
    noise = random.Random(1).randbytes(5000)  # does not shrink: sent as it is
    async with websockets.connect(on.ws + "/channels/base64/raw", max_size=None) as ws:
        assert answer(ws)
        await ws.ping()
        for payload in (binary, noise, binary[::-1]):
            client.publish("base64/raw", payload)
            assert await asyncio.wait_for(ws.recv(), 10) == payload
    async with websockets.connect(on.ws + "/channels/rooms/raw/t", max_size=None) as ws:
        await ws.ping()
        client.publish("rooms/raw/t", text)
        assert await asyncio.wait_for(ws.recv(), 10) == text


async def test_upwards(on, shared):
    listener = shared.mqtt(shared.main_broker.port, subscribe=["lamps/up", "base64/up"])
    big = {"text": "lamp " * 20000, "ü": "ö"}
    async with connect(on) as ws:
        for id, data in enumerate([1, [2], reading(3), big]):
            assert await ws.publish("lamps/up", data, id=id) == {"type": "published", "id": id}
        whole = json.dumps({"type": "publish", "id": 9, "channel": "lamps/up", "data": big})
        await ws.socket.send([whole[i:i + 999] for i in range(0, len(whole), 999)])  # fragments
        assert await ws.recv() == {"type": "published", "id": 9}
    wait_until(lambda: len(listener.payloads("lamps/up")) == 5)
    assert [json.loads(payload) for payload in listener.payloads("lamps/up")] == [1, [2], reading(3), big, big]
    binary = bytes(range(256)) * 50
    async with websockets.connect(on.ws + "/channels/base64/up") as ws:
        await ws.send(binary)
        await ws.send([binary[:1000], binary[1000:]])
        wait_until(lambda: listener.payloads("base64/up") == [binary, binary])


# --- below the protocol ---------------------------------------------------------------------------------------------

async def handshake(gateway, offer="permessage-deflate"):
    """Past the welcome, which is too small to be compressed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write((f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{f'Sec-WebSocket-Extensions: {offer}' if offer else 'Accept: */*'}\r\n\r\n").encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"welcome" in (await receive(reader))[1]
    return reader, writer, b"permessage-deflate" in head


async def receive(reader):
    """First byte and payload of the next data frame."""
    while True:
        first = await asyncio.wait_for(reader.readexactly(2), 10)
        length = first[1]
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        payload = await reader.readexactly(length)
        if first[0] & 15 < 8:
            return first[0], payload


PING = b'{"type":"ping","id":"%s"}'
RSV1 = 4


@pytest.mark.parametrize("offer, good", [
    ("permessage-deflate; client_max_window_bits", True), ("permessage-deflate; server_max_window_bits=9", False),
    ("permessage-deflate; server_max_window_bits=9, permessage-deflate", True), ("permessage-deflate; bogus", False),
    ("x-other\r\nSec-WebSocket-Extensions: permessage-deflate", True), ("permessage-deflate; server_max_window_bits=\"", False)])
async def test_offers(on, offer, good):
    reader, writer, accepted = await handshake(on, offer)
    assert accepted is good
    writer.write(frame(1, deflate(PING % b"p"), rsv=RSV1) if good else frame(1, PING % b"p"))
    assert json.loads((await receive(reader))[1]) == {"type": "pong", "id": "p"}
    writer.close()


async def test_frames_on_the_wire(on, client):
    """A small message has no RSV1, a larger one has, and each can be inflated by itself."""
    reader, writer, _ = await handshake(on)
    writer.write(frame(1, deflate(b'{"type":"subscribe","id":1,"channel":"short/+"}'), rsv=RSV1))
    subscribed = json.loads((await receive(reader))[1])
    for _ in range(subscribed["snapshot"]):
        await receive(reader)
    for number in (3, 4):
        client.publish("short/w", "1")
        first, payload = await receive(reader)
        assert first == 0x81 and json.loads(payload)["data"] == 1
        client.publish("short/w", json.dumps(reading(number)))
        first, payload = await receive(reader)
        assert first == 0xc1 and len(payload) < 350
        assert json.loads(zlib.decompressobj(-12).decompress(payload + b"\0\0\xff\xff"))["data"] == reading(number)
    writer.close()


async def test_fragments_of_several_clients_between_each_other(on):
    """They share a worker's inflater, and plain messages, pings and single bytes come in between."""
    everybody = [await handshake(on) for _ in range(6)]
    packed = [deflate(PING % (b"%d-" % i + b"ab" * 500)) for i in range(len(everybody))]
    for at in range(0, max(map(len, packed))):
        for (_, writer, _), bytes in zip(everybody, packed):
            last = at + 1 == len(bytes)
            if at < len(bytes):
                writer.write(frame(0 if at else 1, bytes[at:at + 1], fin=last, rsv=0 if at else RSV1))
            if at % 5 == 0:
                writer.write(frame(9, b"ping"))
            await writer.drain()
    for number, (reader, writer, _) in enumerate(everybody):
        assert json.loads((await receive(reader))[1])["id"] == "%d-" % number + "ab" * 500
        writer.write(frame(1, PING % b"plain"))
        assert json.loads((await receive(reader))[1])["id"] == "plain"
        writer.close()


BOMB = deflate(b" " * (200 << 20), 9)
ILLEGAL = {
    "bomb": (frame(1, BOMB, rsv=RSV1), 1009),
    "bomb in fragments": (frame(1, BOMB[:5000], fin=False, rsv=RSV1) + frame(0, BOMB[5000:]), 1009),
    "one byte too many": (frame(2, deflate(b"x" * ((1 << 20) + 1)), rsv=RSV1), 1009),
    "too large compressed": (frame(2, b"", rsv=RSV1, length=2 << 20), 1009),
    "continuation with RSV1": (frame(1, deflate(b"x" * 100)[:3], fin=False, rsv=RSV1) + frame(0, b"x", rsv=RSV1), 1002),
    "continuation of a plain message with RSV1": (frame(1, b"x", fin=False) + frame(0, deflate(b"x"), rsv=RSV1), 1002),
    "ping with RSV1": (frame(9, deflate(b"x"), rsv=RSV1), 1002),
    "close with RSV1": (frame(8, b"", rsv=RSV1), 1002),
    "RSV2": (frame(1, b"{}", rsv=2), 1002),
    "RSV1 and RSV3": (frame(1, deflate(b"{}"), rsv=5), 1002),
    "no deflate data": (frame(1, b"{\"type\":\"ping\"}", rsv=RSV1), 1007),
    "cut off": (frame(1, deflate(PING % b"x" * 100)[:-5], rsv=RSV1), 1007),
    "nothing": (frame(1, b"", rsv=RSV1), 1007),
    "text is not UTF-8": (frame(1, deflate(b"\xc0\xaf"), rsv=RSV1), 1007),
    "unmasked": (frame(1, deflate(b"{}"), rsv=RSV1, mask=None), 1002),
}


@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal(on, name):
    bytes, code = ILLEGAL[name]
    before = on.rss()
    reader, writer, accepted = await handshake(on)
    assert accepted
    writer.write(bytes)
    assert await read_close(reader) == code
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    assert SANITIZED or on.rss() - before < 16 << 20


async def test_rsv1_without_negotiation(on):
    reader, writer, accepted = await handshake(on, "")
    assert not accepted
    writer.write(frame(1, deflate(PING % b"x"), rsv=RSV1))
    assert await read_close(reader) == 1002
    writer.close()


async def test_just_the_limit(on):
    reader, writer, _ = await handshake(on)
    writer.write(frame(1, deflate((PING % b"x").ljust(1 << 20)), rsv=RSV1))
    assert json.loads((await receive(reader))[1]) == {"type": "pong", "id": "x"}
    writer.close()


# --- the gateway ----------------------------------------------------------------------------------------------------

async def test_reload_is_for_new_connections(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    text = yaml(broker.port)

    async def works(ws, number):
        client.publish("rooms/r/t", json.dumps(reading(number)))
        assert (await ws.until("message"))["data"] == reading(number)

    async with connect(gateway) as old:
        await old.subscribe("rooms/r/t")
        reload(gateway, text + ON)
        async with connect(gateway) as new:
            assert answer(old.socket) is None and answer(new.socket)
            await new.subscribe("rooms/r/t")
            client.publish("rooms/r/t", json.dumps(reading(1)))
            for ws in (old, new):
                assert (await ws.until("message"))["data"] == reading(1)
            assert gateway.metric("sluice_compressed_total") == 1
            reload(gateway, text)
            await works(new, 2)  # it still inflates, and the other way too
            await new.quiet()
            assert gateway.metric("sluice_compressed_total") == 2
    async with connect(gateway) as ws:
        assert answer(ws.socket) is None


async def test_tls(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n")
    cert, key = certificate(world.directory, "one")
    listener = f"  - address: 127.0.0.1:0\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n"
    gateway = world.sluice(with_listeners(yaml(broker.port, extra=ON), listener))
    client = world.mqtt(broker.port)
    context = ssl.create_default_context(cafile=str(cert))
    payloads = [json.dumps(reading(number, 20000 if number % 10 else 300)) for number in range(MESSAGES)]
    async with websockets.connect(f"wss://127.0.0.1:{ports(gateway)[1]}/ws", ssl=context, max_size=None) as socket:
        assert answer(socket)
        ws = Ws(socket)
        await ws.until("welcome")
        await ws.subscribe("rooms/tls/t")
        for payload in payloads:
            client.client.publish("rooms/tls/t", payload, 1)
        for payload in payloads:
            assert (await ws.until("message"))["data"] == json.loads(payload)
        await ws.quiet()
    assert gateway.metric("sluice_compressed_total") == MESSAGES


async def test_slow_reader(world):
    """What waits behind a full socket keeps its order."""
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n")
    gateway = world.sluice(yaml(broker.port, extra=ON + "workers: 1\n"))
    client, count = world.mqtt(broker.port), 800
    noise = random.Random(2).randbytes(8000).hex()  # halves; more than a socket takes
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", gateway.port))
    small.setblocking(False)
    async with connect(gateway, sock=small, max_queue=1) as slow, connect(gateway) as quick:
        for ws in (slow, quick):
            await ws.subscribe("rooms/slow/t")
        for number in range(count):
            client.client.publish("rooms/slow/t", json.dumps({"n": number, "noise": noise}), 1)
        for number in range(count):
            assert (await quick.until("message", 30))["data"]["n"] == number
        wait_until(lambda: gateway.metric("sluice_queued_bytes") > 0, what="the slow one to be behind")
        for number in range(count):
            assert (await slow.until("message", 30))["data"]["n"] == number


async def test_shutdown(world):
    gateway = world.sluice(yaml(world.broker().port, extra=ON))
    async with connect(gateway) as ws:
        gateway.stop()
        assert (await closed(ws.socket))[0] == 1001
