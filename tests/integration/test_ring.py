"""Sends that are handed to the kernel together (io_uring), and the gateway where that is not allowed, as in many containers."""
import asyncio
import json
import socket
import sys

import harness
import pytest
import websockets
from conftest import yaml
from harness import wait_until
from wsclient import connect

# Refuses io_uring_setup (425 everywhere), then becomes the gateway.
REFUSING = """#!{python}
import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv("{binary}", sys.argv)
"""


@pytest.mark.sanitize
@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "refused"])
async def test_many_clients_of_all_kinds(world, monkeypatch, allowed):
    if not allowed:
        wrapper = world.directory / "sluice-without"
        wrapper.write_text(REFUSING.format(python=sys.executable, binary=harness.BINARY))
        wrapper.chmod(0o755)
        monkeypatch.setattr(harness, "BINARY", str(wrapper))
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n")
    gateway = world.sluice(yaml(broker.port, extra="log: { level: debug }\nworkers: 1\n"))
    assert ("no io_uring" in gateway.text()) == (not allowed)
    client, count, body = world.mqtt(broker.port), 800, "b" * 8000  # more than a socket takes

    def number_of(text):
        return int(json.loads(text)["data"].split()[0])

    async def quick():
        async with connect(gateway) as ws:
            await ws.subscribe("rooms/ring/t")
            ready.release()
            return [number_of(json.dumps(await ws.until("message", 30))) for _ in range(count)]

    async def raw():
        async with websockets.connect(gateway.ws + "/channels/rooms/ring/t") as ws:
            await ws.ping()
            ready.release()
            return [int(json.loads(await asyncio.wait_for(ws.recv(), 30)).split()[0]) for _ in range(count)]

    async def stream(slow):
        """Plain sockets; the slow ones read only when everything is published, out of a small buffer."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, ("127.0.0.1", gateway.port))
        await loop.sock_sendall(one, b"GET /sse?channel=rooms/ring/t HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"retry:" not in text:
            text += await loop.sock_recv(one, 4096)
        ready.release()
        if slow:
            await published.wait()
        numbers = []
        while len(numbers) < count:
            piece = await asyncio.wait_for(loop.sock_recv(one, 65536), 30)
            assert piece
            *lines, text = (text + piece).split(b"\n")
            numbers += [number_of(line[5:]) for line in lines if line.startswith(b"data:")]
        one.close()
        return numbers

    ready, published = asyncio.Semaphore(0), asyncio.Event()
    kinds = [quick() for _ in range(6)] + [raw() for _ in range(2)] + [stream(False) for _ in range(6)] + [stream(True) for _ in range(4)]
    tasks = [asyncio.create_task(kind) for kind in kinds]
    for _ in tasks:
        await ready.acquire()
    for number in range(count):
        client.client.publish("rooms/ring/t", json.dumps(f"{number} {body}"), 1)
        if number % 20 == 0:
            await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(
        None, lambda: wait_until(lambda: gateway.metric("sluice_messages_total") >= count, 30, "every message to be in"))
    published.set()
    for numbers in await asyncio.gather(*tasks):
        assert numbers == list(range(count))


@pytest.mark.sanitize
async def test_clients_that_vanish_amid_a_turn(world):
    """Connections that are reset while messages for them are collected: the others get everything."""
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n")
    gateway, client = world.sluice(yaml(broker.port, extra="workers: 1\n")), world.mqtt(broker.port)
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/gone/t")
        for turn in range(20):
            leaving = []
            for _ in range(30):
                one = socket.create_connection(("127.0.0.1", gateway.port), 15)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                one.sendall(b"GET /sse?channel=rooms/gone/t HTTP/1.1\r\nHost: x\r\n\r\n")
                assert one.recv(12) == b"HTTP/1.1 200"
                leaving.append(one)
            for number in range(10):
                client.client.publish("rooms/gone/t", str(turn * 10 + number), 1)
                for one in leaving[number * 3:number * 3 + 3]:
                    one.close()  # a reset
            for number in range(10):
                assert (await ws.until("message"))["data"] == turn * 10 + number
    wait_until(lambda: gateway.metric("sluice_connections") == 1, what="nobody to be left")
