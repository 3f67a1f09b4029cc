"""HTTP and WebSocket as they occur in the field: docs/field.md, section "HTTP and WebSocket"."""
import os
import pathlib
import select
import shutil
import socket
import ssl
import struct
import subprocess

import pytest
from conftest import World, yaml
from harness import BINARY, SANITIZED, wait_until
from tlsfiles import certificate, ports as ports_of, with_listeners
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.memory

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
# The most that the kernel holds on both sides of a loopback connection, and what the gateway throws away after a refusal.
KERNEL_BYTES = sum(int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{side}mem").read_text().split()[2]) for side in "rw") + (12 << 20)
GROWTH_BYTES = 6 << 20


def exchange(port, data, shut=False, timeout=10):
    """Sends data, returns all that comes until the gateway closes or is silent for a second after an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout) as one:
        one.sendall(data)
        if shut:
            one.shutdown(socket.SHUT_WR)
        answer = b""
        while select.select([one], [], [], 1 if answer else timeout)[0]:
            try:
                more = one.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            answer += more
        return answer


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


# --- nothing is buffered without bound ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """A gateway with a plain and a TLS listener, and long deadlines, so that no deadline ends a flood."""
    world = World(tmp_path_factory.mktemp("field"))
    files = certificate(world.directory, "field")
    broker = world.broker()
    text = yaml(broker.port, extra="web: { keepalive: 5m, request_timeout: 5m }\n")
    listener = f"  - address: 127.0.0.1:0\n    tls: {{ cert_file: {files[0]}, key_file: {files[1]} }}\n"
    gateway = world.sluice(with_listeners(text, listener))
    yield gateway, ports_of(gateway)
    world.end()


def connect_to(ports, secure):
    one = socket.create_connection(("127.0.0.1", ports[secure]), 10)
    if not secure:
        return one
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(one)


def mask(payload, opcode=Opcode.TEXT):
    return Frame(opcode, payload).serialize(mask=True)


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HANDSHAKE = ("GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + "\r\n").encode()
POLL = b"GET /poll?channel=rooms/none/t&wait=25 HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /sse?channel=rooms/none/t HTTP/1.1\r\nHost: x\r\n\r\n"
FLOODS = {  # by the state in which the connection reads: what comes first, what then comes for ever
    "head, answers not read": (b"", GET * 500),
    "head, refusals not read": (b"", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 500),
    "head, options not read": (b"", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" * 500),
    "busy with a poll": (POLL, GET * 500),
    "busy with a stream": (STREAM, GET * 500),
    "head that never ends": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 2000),
    "a line that never ends": (b"GET /", b"a" * 65536),
    "empty lines": (b"", b"\r\n" * 32768),
    "chunk extensions": (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1", b";a" * 8192),
    "trailers": (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 4096),
    "body too large": (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                       b"400\r\n" + b"x" * 1024 + b"\r\n"),
    "websocket, fragments": (HANDSHAKE + Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=True),
                             Frame(Opcode.CONT, b"a", fin=False).serialize(mask=True) * 9000),
    "websocket, errors not read": (HANDSHAKE, mask(b'{"type":"nonsense"}') * 2000),
    "websocket, a frame too large": (HANDSHAKE, b"\x81\xff" + struct.pack(">Q", 1 << 40) + b"\0" * 65536),
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", FLOODS)
def test_flood(doors, name, secure):
    """Whatever state it is in: a peer that sends and does not read is held up or cut off."""
    gateway, ports = doors
    first, then = FLOODS[name]
    before, accepted = gateway.rss(), 0
    with connect_to(ports, secure) as one:
        one.sendall(first)
        one.settimeout(2)
        try:
            while accepted < 4 * KERNEL_BYTES:
                accepted += one.send(then)
        except (OSError, ssl.SSLError):
            pass  # held up, or closed
        # After a WebSocket's close frame what comes is thrown away for two seconds, so that the frame is not lost.
        assert accepted < KERNEL_BYTES or name == "websocket, errors not read", f"{accepted} bytes were taken"
        assert SANITIZED or gateway.rss() - before < GROWTH_BYTES
    assert gateway.get("/healthz").status_code == 200


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG], ids=["pings", "pongs"])
def test_flood_of_control_frames(doors, opcode):
    """They need no memory, however many come; nor do their answers while the peer does not read them."""
    gateway, ports = doors
    before = gateway.rss()
    with connect_to(ports, False) as one:
        one.sendall(HANDSHAKE)
        one.settimeout(2)
        flood, accepted = mask(b"x" * 125, opcode) * 400, 0
        while accepted < 4 * KERNEL_BYTES:
            accepted += one.send(flood)
        assert SANITIZED or gateway.rss() - before < GROWTH_BYTES


# --- requests to the letter ----------------------------------------------------------------------------------------

def get(*lines, version="1.1", target="/healthz"):
    return (f"GET {target} HTTP/{version}\r\n" + "".join(line + "\r\n" for line in lines) + "\r\n").encode()


HOSTS = [("x", 200), ("", 200), ("a.b-c_d:8080", 200), ("x:", 200), ("[::1]", 200), ("[::1]:80", 200), ("127.0.0.1", 200),
         ("%61", 200), ("a b", 400), ("a/b", 400), ("<a>", 400), ("[::1", 400), ("[x]", 400), ("[::1]x", 400), ("a:b", 400),
         ("a@b", 400), ("a,b", 200), ("a\\b", 400), ("a?b", 400), ("a#b", 400), ("%6", 400), (":80", 400), ("::1", 400),
         ('"a"', 400), ("a\tb", 400), ("[]", 400), ("a:80:90", 400)]


@pytest.mark.parametrize("host,expected", HOSTS)
def test_host(sluice, host, expected):
    assert status(exchange(sluice.port, get(f"Host: {host}", "Connection: close"))) == expected


TARGETS = [("http://a", 200), ("HTTP://a/healthz", 200), ("https://a/healthz", 200), ("http://a?x=1", 200),
           ("http:///healthz", 400), ("http://a b/", 400), ("http://u@a/", 400), ("ftp://a/", 400), ("*", 400), ("a", 400),
           ("/a#b", 400), ("", 400), ("//healthz", 404)]


@pytest.mark.parametrize("target,expected", TARGETS)
def test_target(sluice, target, expected):
    assert status(exchange(sluice.port, get("Host: x", "Connection: close", target=target))) == expected


def test_options_of_the_gateway_as_a_whole(sluice):
    answer = exchange(sluice.port, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status(answer) == 204 and b"\r\nAllow: GET" in answer


@pytest.mark.parametrize("lines,stays", [
    (["Connection: keep-alive", "Connection: close"], False), (["Connection: foo, close"], False),
    (["Connection: close", "Connection: keep-alive"], False), (["Connection: x", "Connection: y"], True),
    (["Connection: CLOSE"], False), (["Connection: closed"], True)])
def test_connection_in_several_lines(sluice, lines, stays):
    answer = exchange(sluice.port, get("Host: x", *lines) + get("Host: x", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200 ") == (2 if stays else 1)


def upgrade(*lines, version="1.1"):
    return get("Host: x", *lines, version=version, target="/ws")


@pytest.mark.parametrize("data,expected", [
    (upgrade(*UPGRADE.split("\r\n")[:3], KEY.strip()), 101),
    (upgrade("Connection: keep-alive", *UPGRADE.split("\r\n")[:3], KEY.strip()), 101),
    (upgrade("Upgrade: h2c", *UPGRADE.split("\r\n")[:3], KEY.strip()), 101),
    (upgrade(*UPGRADE.split("\r\n")[:3], KEY.strip(), version="1.0"), 400),
    (upgrade(*UPGRADE.split("\r\n")[:3], KEY.strip(), KEY.strip()), 400),
    (upgrade(*UPGRADE.split("\r\n")[:3], "Sec-WebSocket-Version: 13", KEY.strip()), 400),
    (upgrade("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 12", KEY.strip()), 426),
])
def test_upgrade(sluice, data, expected):
    answer = exchange(sluice.port, data)
    assert status(answer) == expected
    if expected == 426:
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


def test_empty_lines(sluice):
    assert status(exchange(sluice.port, b"\r\n" * 8 + get("Host: x", "Connection: close"))) == 200
    assert status(exchange(sluice.port, b"\n" + get("Host: x", "Connection: close"))) == 200
    assert status(exchange(sluice.port, b"\r\n" * 9)) == 400
    assert status(exchange(sluice.port, b"\r\r\n" + get("Host: x"))) == 400
    with socket.create_connection(("127.0.0.1", sluice.port), 10) as one:
        for byte in b"\r\n\r\n" + get("Host: x", "Connection: close"):
            one.sendall(bytes([byte]))
        assert one.recv(1000).startswith(b"HTTP/1.1 200 ")


CHUNKED = b"POST /channels/lamps/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("body,expected", [
    (b"2\r\nON\r\n0\r\n\r\n", 200), (b"2;a\r\nON\r\n0\r\n\r\n", 200), (b"2 ; a = b ;c=\"\\\"x\"\r\nON\r\n0\r\n\r\n", 200),
    (b"0002\r\nON\r\n0\r\nA: b\r\n\r\n", 200), (b"2\nON\r\n0\r\n\r\n", 400), (b"2;a\nON\r\n0\r\n\r\n", 400),
    (b"2\r\nON\n0\r\n\r\n", 400), (b"2\r\nON\r\n0\n\r\n", 400), (b"2\r\nON\r\n0\r\n\n", 400), (b"2 \r\nON\r\n0\r\n\r\n", 400),
    (b"2 junk\r\nON\r\n0\r\n\r\n", 400), (b"2;\r\nON\r\n0\r\n\r\n", 400), (b"2;a=\r\nON\r\n0\r\n\r\n", 400),
    (b"2;a\rb\r\nON\r\n0\r\n\r\n", 400), (b"2;a\x01\r\nON\r\n0\r\n\r\n", 400), (b"2;a=\"\x00\"\r\nON\r\n0\r\n\r\n", 400),
    (b"2\r\r\nON\r\n0\r\n\r\n", 400), (b"2\r\nON\r\r\n0\r\n\r\n", 400), (b"2\r\nONX\r\n0\r\n\r\n", 400),
    (b"2\r\nON\r\n0\r\nno field\r\n\r\n", 400), (b"2\r\nON\r\n0\r\n: x\r\n\r\n", 400), (b"2\r\nON\r\n0\r\nA : b\r\n\r\n", 400),
    (b"2\r\nON\r\n0\r\n folded\r\n\r\n", 400), (b"2\r\nON\r\n0\r\nA: \x00\r\n\r\n", 400), (b"0x2\r\nON\r\n0\r\n\r\n", 400),
    (b"+2\r\nON\r\n0\r\n\r\n", 400), (b"-1\r\nON\r\n0\r\n\r\n", 400), (b" 2\r\nON\r\n0\r\n\r\n", 400), (b"\r\n", 400),
])
def test_chunks(sluice, body, expected):
    answer = exchange(sluice.port, CHUNKED + body)
    assert status(answer) == expected, answer


# --- clients that shut their side, or do not read --------------------------------------------------------------------

@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_request_then_end(doors, secure):
    """`printf ... | nc -N`, and clients in languages whose sockets shut down their output first."""
    gateway, ports = doors
    for data, expected in ((b"POST /channels/lamps/end HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nON", 200),
                           (b"GET /poll?channel=rooms/none/t&wait=0.5 HTTP/1.1\r\nHost: x\r\n\r\n", 204)):
        with connect_to(ports, secure) as one:
            one.sendall(data)
            if secure:
                one.settimeout(0.3)
                try:
                    one.unwrap()  # sends close_notify, then waits for the gateway's
                except (OSError, ssl.SSLError):
                    pass
                raw = b""  # what came is encrypted; that it came shows in the log of requests below
            else:
                one.shutdown(socket.SHUT_WR)
                raw = b""
                while more := one.recv(65536):
                    raw += more
                assert status(raw) == expected
    wait_until(lambda: gateway.get("/channels/lamps/end").json().get("data") == "ON")


def test_end_before_the_request_is_complete(sluice):
    assert exchange(sluice.port, b"GET /", shut=True) == b""
    assert exchange(sluice.port, b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", shut=True) == b""


def test_stream_ends_with_its_reader(sluice):
    before = sluice.metric("sluice_sessions")
    one = socket.create_connection(("127.0.0.1", sluice.port), 10)
    one.sendall(STREAM)
    wait_until(lambda: sluice.metric("sluice_sessions") == before + 1)
    one.shutdown(socket.SHUT_WR)
    wait_until(lambda: sluice.metric("sluice_sessions") == before)
    one.close()


def test_newest_ping_is_answered(sluice, client):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", sluice.port))
        one.settimeout(10)
        one.sendall(HANDSHAKE + mask(b'{"type":"subscribe","channel":"rooms/ping/t"}'))
        wait_until(lambda: select.select([one], [], [], 0)[0])
        payload = "x" * 50000
        for _ in range(40):
            client.publish("rooms/ping/t", payload)
        wait_until(lambda: sluice.get("/channels/rooms/ping/t/history").json()["messages"][39:])
        for number in range(20):
            one.sendall(mask(b"ping %d" % number, Opcode.PING))
        wait_until(lambda: sluice.get("/healthz").ok)
        got = b""
        while b"\x8a\x07ping 19" not in got[-200000:]:
            more = one.recv(65536)
            assert more
            got += more


def test_load_balancers_without_host(world):
    gateway = world.sluice(yaml(world.broker().port, extra="web: { hosts: [dash.example] }\n"))
    for target in ("/healthz", "/readyz"):
        assert status(exchange(gateway.port, f"GET {target} HTTP/1.0\r\n\r\n".encode())) == 200
        assert status(exchange(gateway.port, f"OPTIONS {target} HTTP/1.0\r\n\r\n".encode())) == 405
        assert status(exchange(gateway.port, f"GET {target} HTTP/1.0\r\nHost: evil.example\r\n\r\n".encode())) == 403
    assert status(exchange(gateway.port, b"GET /channels HTTP/1.0\r\n\r\n")) == 403


def test_proxies_must_not_compress_streams(sluice):
    with sluice.get("/sse?channel=rooms/none/t", stream=True) as answer:
        assert "no-transform" in answer.headers["Cache-Control"]


# --- secrets -----------------------------------------------------------------------------------------------------------

def test_secrets_are_for_nobody_else(world, tmp_path):
    """Another process of the same user reads neither environment nor memory, and there is no core file."""
    if os.geteuid():
        pytest.skip("needs root, to start the gateway as another user")
    broker = world.broker()
    config = tmp_path / "secret.yaml"
    config.write_text(yaml(broker.port, broker="  username: u\n  password: ${MQTT_PASSWORD}\n"))
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == 0 and path != pathlib.Path("/") and not path.stat().st_mode & 1:
            path.chmod(path.stat().st_mode | 0o755)
    binary = tmp_path / "sluice"
    shutil.copy(BINARY, binary)
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    log = open(tmp_path / "secret.log", "w")
    child = subprocess.Popen([binary, "-c", config], cwd=tmp_path, stdout=log, stderr=log,
                             env={**os.environ, "MQTT_PASSWORD": "hunter2-in-the-field"}, **user)
    try:
        wait_until(lambda: "listening on" in (tmp_path / "secret.log").read_text())
        for name in ("environ", "mem", "maps", "auxv"):
            look = subprocess.run(["cat", f"/proc/{child.pid}/{name}"], capture_output=True, cwd="/", **user)
            assert look.returncode and b"Permission denied" in look.stderr, name
        limits = pathlib.Path(f"/proc/{child.pid}/limits").read_text()
        assert "Max core file size        0 " in limits
        child.send_signal(6)
        wait_until(lambda: child.poll() is not None)
        assert child.returncode == -6
        assert not [path for path in tmp_path.rglob("*core*")]
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        log.close()
