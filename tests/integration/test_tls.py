"""TLS listeners, with stock clients: Python's ssl and websockets, requests, curl, openssl."""
import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests
import websockets
from conftest import yaml
from harness import BINARY, SANITIZED, wait_until
from tlsfiles import certificate, common_name, ports, with_listeners
from wsclient import Ws

sanitize = pytest.mark.sanitize


class Secure:
    """A gateway with a plain listener and a TLS listener."""

    def __init__(self, world, extra="web: { heartbeat: 1s }\n", workers=1):
        self.broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n")
        self.cert, self.key = certificate(world.directory, "first")
        self.listener = f"  - address: 127.0.0.1:0\n    tls: {{ cert_file: {self.cert}, key_file: {self.key} }}\n"
        self.gateway = world.sluice(with_listeners(yaml(self.broker.port, extra=extra + f"workers: {workers}\n"), self.listener))
        self.port = ports(self.gateway)[1]
        self.https = f"https://127.0.0.1:{self.port}"
        self.client = world.mqtt(self.broker.port)
        self.context = ssl.create_default_context(cafile=str(self.cert))

    def connect(self, context=None, size=None):
        raw = socket.socket()
        if size:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        raw.settimeout(30)
        raw.connect(("127.0.0.1", self.port))
        return (context or self.context).wrap_socket(raw, server_hostname="localhost")

    def websocket(self):
        return websockets.connect(f"wss://127.0.0.1:{self.port}/ws", ssl=self.context, max_size=None)

    def get(self, path, **kwargs):
        return requests.get(self.https + path, verify=str(self.cert), timeout=15, **kwargs)


@pytest.fixture
def secure(world):
    return Secure(world)


def test_versions_ciphers_and_alpn(secure):
    def handshake(*options):
        return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", *options], input=b"",
                              capture_output=True, timeout=15)

    for version in ("-tls1_2", "-tls1_3"):
        assert handshake(version).returncode == 0
    for refused in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
                    ["-tls1_2", "-cipher", "AES128-SHA"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], ["-alpn", "h2"]):
        assert handshake(*refused).returncode != 0, refused
    assert b"ALPN protocol: http/1.1" in handshake("-alpn", "h2,http/1.1").stdout
    assert secure.gateway.get("/healthz").status_code == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_are_resumed_by_every_worker(world, workers):
    secure = Secure(world, workers=workers)
    context = ssl.create_default_context(cafile=str(secure.cert))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secure.connect(context) as first:
        session = first.session
    for _ in range(8):
        raw = socket.create_connection(("127.0.0.1", secure.port), 15)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as again:
            assert again.session_reused


def test_silence_ends_no_connection(secure):
    """libwebsockets has time-outs of its own; nothing of it may reach a client that waits."""
    assert secure.get("/poll?channel=rooms/silent/t&wait=8").status_code == 204


def test_plain_http_to_the_tls_port_is_closed(secure):
    with socket.create_connection(("127.0.0.1", secure.port), 15) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"HTTP/" not in raw.recv(4096)  # at most a TLS alert
            assert raw.recv(4096) == b""
        except ConnectionResetError:
            pass
    wait_until(lambda: secure.gateway.metric("sluice_connections") == 1, what="the connection to be gone")  # that of the metric
    assert secure.get("/healthz").status_code == 200


@sanitize
async def test_every_transport(secure):
    gateway, client = secure.gateway, secure.client
    client.publish("rooms/a/t", "1", retain=True)
    wait_until(lambda: gateway.get("/channels/rooms/a/t").status_code == 200)
    async with secure.websocket() as socket_:
        ws = Ws(socket_)
        await ws.until("welcome")
        await ws.subscribe("rooms/a/t")
        assert (await ws.until("message"))["data"] == 1
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(None, lambda: secure.get("/poll?channel=rooms/a/t&cursor=last"))
        assert answer.json()["messages"][0]["data"] == 1
        stream = secure.get("/sse?channel=rooms/a/t", stream=True)
        lines = stream.iter_lines(chunk_size=1)
        assert next(line for line in lines if line.startswith(b"data:"))
        posted = requests.post(secure.https + "/channels/lamps/1", data=b'"on"', verify=str(secure.cert), timeout=15)
        assert posted.json() == {"status": "published"}
        client.publish("rooms/a/t", "2")
        assert (await ws.until("message"))["data"] == 2
        assert b'"data":2' in next(line for line in lines if line.startswith(b"data:"))
        stream.close()
    curl = subprocess.run([shutil.which("curl"), "-s", "--cacert", str(secure.cert), f"{secure.https}/channels/rooms/a/t"],
                          capture_output=True, timeout=15)
    assert json.loads(curl.stdout)["data"] == 2


@sanitize
async def test_a_thousand_in_order_and_large_ones(secure):
    async with secure.websocket() as socket_:
        ws = Ws(socket_)
        await ws.until("welcome")
        await ws.subscribe("rooms/many/t")
        for number in range(1000):
            secure.client.client.publish("rooms/many/t", str(number), 1)
        for number in range(1000):
            assert (await ws.until("message"))["data"] == number
        large = "x" * 1_500_000
        for number in range(8):
            secure.client.client.publish("rooms/many/t", json.dumps(str(number) + large), 1)
        for number in range(8):
            assert (await ws.until("message", 20))["data"] == str(number) + large
        # ... and up: a message of many records
        await socket_.send(json.dumps({"type": "publish", "id": 9, "channel": "lamps/9", "data": "y" * 900_000}))
        assert await ws.recv() == {"type": "published", "id": 9}


@sanitize
def test_slow_reader_loses_nothing_and_holds_little(secure):
    gateway, client = secure.gateway, secure.client
    count, body = 3000, "z" * 8000
    with secure.connect(size=8192) as slow:
        slow.sendall(b"GET /sse?channel=rooms/slow/n HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"retry:" not in text:
            text += slow.recv(4096)
        before = gateway.rss()
        for number in range(count):
            client.client.publish("rooms/slow/n", json.dumps(f"{number} {body}"), 1)
        wait_until(lambda: gateway.metric("sluice_messages_total") >= count, 30, "every message to be in")
        held = gateway.rss() - before
        numbers = []

        def read():
            rest = text
            while len(numbers) < count:
                piece = slow.recv(65536)
                assert piece
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        numbers.append(int(json.loads(line[5:])["data"].split()[0]))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(60)
        assert numbers == list(range(count))
    if not SANITIZED:  # the history holds them once; nothing like a second copy waits for the one reader
        assert held < 1.6 * count * len(body) + 8_000_000


@sanitize
async def test_renewed_certificate_and_a_broken_one(secure):
    gateway = secure.gateway
    assert common_name(secure.port) == "first"
    async with secure.websocket() as socket_:
        ws = Ws(socket_)
        await ws.until("welcome")
        await ws.subscribe("rooms/r/t")
        stream = secure.get("/sse?channel=rooms/r/t", stream=True)
        lines = stream.iter_lines(chunk_size=1)
        cert, key = certificate(secure.cert.parent, "second", key="rsa")
        cert.replace(secure.cert)
        key.replace(secure.key)
        gateway.signal(1)
        wait_until(lambda: "reloaded" in gateway.text(), what="the reload")
        wait_until(lambda: common_name(secure.port) == "second", what="the new certificate")
        # A key that is not the certificate's changes nothing and is named with its place.
        stray = certificate(secure.cert.parent, "third")[1]
        good = secure.key.read_bytes()
        secure.key.write_bytes(stray.read_bytes())
        gateway.signal(1)
        wait_until(lambda: "reload failed" in gateway.text(), what="the refusal")
        wait_until(lambda: "is not the key of the certificate" in gateway.text())
        assert common_name(secure.port) == "second"
        checked = subprocess.run([BINARY, "check", str(gateway.config)], capture_output=True, text=True, timeout=15)
        assert checked.returncode == 2
        assert f"{gateway.config}:" in checked.stderr and "listen[1].tls.key_file:" in checked.stderr
        secure.cert.write_text("rubbish")
        secure.key.write_bytes(good)
        checked = subprocess.run([BINARY, "check", str(gateway.config)], capture_output=True, text=True, timeout=15)
        assert "listen[1].tls.cert_file:" in checked.stderr and "holds no certificate" in checked.stderr
        # Whoever was there noticed nothing.
        secure.client.publish("rooms/r/t", "5")
        assert (await ws.until("message"))["data"] == 5
        assert b'"data":5' in next(line for line in lines if line.startswith(b"data:"))
        stream.close()


@sanitize
def test_a_handshake_that_never_ends_is_cut(world):
    secure = Secure(world, extra="web: { request_timeout: 500ms }\n")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello
    idle = [socket.create_connection(("127.0.0.1", secure.port), 15) for _ in range(40)]
    for i, raw in enumerate(idle):
        if i % 2:
            raw.sendall(hello)
    with secure.connect() as done:  # a handshake that is complete, and then no request
        for raw in idle:
            try:
                assert raw.recv(4096) == b""
            except ConnectionResetError:
                pass
            raw.close()
        assert done.recv(1) == b""
    wait_until(lambda: secure.gateway.metric("sluice_connections") == 1, what="nothing to be left")


def test_silence_before_a_request_has_the_time_that_is_configured(world):
    """libwebsockets' own idea of it is some seconds: during the handshake, and between that and the first request."""
    secure = Secure(world, extra="web: { request_timeout: 9s }\n")
    begun = time.monotonic()
    with secure.connect() as used, secure.connect() as idle, socket.create_connection(("127.0.0.1", secure.port), 15) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the beginning of a ClientHello
        for one in (used, idle, half):
            one.settimeout(max(0.1, begun + 7.5 - time.monotonic()))
            with pytest.raises(TimeoutError):
                one.recv(1)
        used.settimeout(15)
        used.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert used.recv(64).startswith(b"HTTP/1.1 200")
        for one in (idle, half):
            one.settimeout(15)
            try:
                assert one.recv(1) == b""
            except ConnectionResetError:
                pass
            assert 8.5 < time.monotonic() - begun < 14


def test_half_open_handshakes_in_turn(world):
    secure = Secure(world, extra="web: { request_timeout: 2s }\nlimits: { connections: 2000 }\n")
    gateway, total = secure.gateway, 100_000
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    address = ("127.0.0.1", secure.port)

    def storm(count):
        held = []
        for number in range(count):
            raw = socket.socket()
            raw.connect(address)
            if number % 2:
                raw.send(hello)
            held.append(raw)
            if len(held) == 256:
                held.pop(0).close()
        for raw in held:
            raw.close()

    # How many are there at once depends on how far the gateway is behind; what it needed for the most of them stays with malloc. So
    # the second half must not need more than the first, in which a leak of 200 bytes each would be seen.
    before = gateway.rss()
    storm(total // 2)
    after_half = gateway.rss()
    storm(total // 2)
    assert secure.get("/healthz").status_code == 200
    wait_until(lambda: gateway.metric("sluice_connections") == 1, 20, "nothing to be left")
    if not SANITIZED:
        assert after_half - before < 50_000_000  # limits.connections times what a handshake holds
        assert gateway.rss() - after_half < 10_000_000, (before, after_half, gateway.rss())
    assert gateway.metric("sluice_connections_refused_total") == 0


@sanitize
def test_tls_counts_in_the_limits(world):
    secure = Secure(world, extra="limits: { connections_per_address: 4 }\n")
    held = [secure.connect() for _ in range(3)]
    for one in held:
        one.sendall(b"GET /sse?channel=rooms/x/t HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.recv(64).startswith(b"HTTP/1.1 200")
    fourth = secure.connect()
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        secure.connect()
    fourth.close()
    for one in held:
        one.close()
    wait_until(lambda: secure.gateway.get("/metrics").status_code == 200, what="room")
    wait_until(lambda: secure.gateway.metric("sluice_connections_refused_address_total") >= 1)
