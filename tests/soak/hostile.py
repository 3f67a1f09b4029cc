"""Clients that mean harm, or behave as if: each does its worst for some seconds and goes. None may hurt the others."""
import asyncio
import base64
import contextlib
import json
import struct

UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n\r\n")


async def opened(port):
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)


async def swallow(reader, limit=2.0):
    """Reads what comes until the end or for `limit` seconds."""
    with contextlib.suppress(asyncio.TimeoutError):
        async def all():
            while await reader.read(65536):
                pass
        await asyncio.wait_for(all(), limit)


def frame(opcode, payload, masked=True, length=None):
    length = len(payload) if length is None else length
    head = bytes([0x80 | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    return head + (b"\0\0\0\0" if masked else b"") + payload # a mask of zeros changes nothing


async def talk(port, *pieces, limit=2.0):
    reader, writer = await opened(port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), 5)
        await swallow(reader, limit)
    finally:
        writer.transport.abort()


async def garbage(port, random):
    """Bytes that are no HTTP, and HTTP that is none of ours."""
    await asyncio.gather(*(talk(port, random.randbytes(random.randint(1, 60000))) for _ in range(10)),
                         *(talk(port, b"GET /" + random.randbytes(300) + b" HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(10)),
                         talk(port, b"POST /channels/flood/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
                         talk(port, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n"),
                         return_exceptions=True)


async def frames(port, random):
    """WebSocket frames that are huge, broken, endless, or no JSON."""
    huge = frame(1, b'{"type":"publish","channel":"flood/x","data":"' + b"x" * 3_000_000 + b'"}')
    await asyncio.gather(talk(port, UPGRADE, huge),
                         talk(port, UPGRADE, frame(1, b"x", length=1 << 62)),
                         talk(port, UPGRADE, frame(1, b"not masked", masked=False)),
                         talk(port, UPGRADE, frame(3, b"reserved")),
                         talk(port, UPGRADE, frame(1, b"\xff\xfe")),
                         talk(port, UPGRADE, *(frame(1, b'{"type":' + random.randbytes(50)) for _ in range(100))),
                         talk(port, UPGRADE, *(frame(9, b"p" * 125) for _ in range(2000))),
                         talk(port, UPGRADE, *(b"\x01\x81\0\0\0\0x" if i == 0 else b"\x00\x81\0\0\0\0x" for i in range(5000))),
                         return_exceptions=True)


async def publishes(port, random):
    """Publishes and subscriptions without a pause, whose answers nobody reads for a while."""
    publish = frame(1, json.dumps({"type": "publish", "id": 1, "channel": "flood/x", "data": "y" * 200}).encode())
    subscribe = [frame(1, json.dumps({"type": "subscribe", "id": i, "channel": f"soak/{i}/#"}).encode()) for i in range(400)]
    post = b"POST /channels/flood/p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    await asyncio.gather(*(talk(port, UPGRADE, *[publish * 50] * 20) for _ in range(3)),
                         talk(port, UPGRADE, *subscribe),
                         *(talk(port, post * 200) for _ in range(3)), return_exceptions=True)


async def connections(port, random):
    """Many connections that send a part of a request and wait, more than limits.connections allows."""
    opened_now = []
    try:
        for _ in range(300):
            try:
                reader, writer = await opened(port)
            except (OSError, asyncio.TimeoutError):
                break
            opened_now.append(writer)
            writer.write(random.choice((b"", b"G", b"GET /poll?channel=soak/%23 HTTP/1.1\r\nHost:", UPGRADE)))
        await asyncio.sleep(3)
    finally:
        for writer in opened_now:
            writer.transport.abort()


async def deaf(port, random):
    """Streams that are asked for and never read."""
    opened_now = []
    try:
        for target in (b"/sse?channel=soak/%23", b"/sse?channel=soak/%23&cursor=last", b"/channels/soak/a/0/history",
                       b"/metrics", b"/", b"/client.js"):
            for _ in range(3):
                reader, writer = await opened(port)
                opened_now.append(writer)
                reader._transport.pause_reading()
                writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n" * 1)
        await asyncio.sleep(4)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        for writer in opened_now:
            writer.transport.abort()


KINDS = {"garbage": garbage, "frames": frames, "publishes": publishes, "connections": connections, "deaf": deaf}
