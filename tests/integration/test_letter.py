"""HTTP and WebSocket to the letter, and what a connection may hold (issue: In the field, A and F)."""
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess

import pytest
import requests
from conftest import yaml
from harness import BINARY, SANITIZED, wait_until
from tlsfiles import certificate, ports, with_listeners

ROUTES = "  - { topic: lamps/#, publish: {} }\n"
FLOOD = 32 << 20
# The documented 64 KiB, one read of as much, and what two kernels buffer on loopback.
BOUND = 14 << 20


def say(port, data, timeout=10, until_close=True):
    """Sends the bytes and returns all that comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as one:
        one.sendall(data)
        answer = b""
        while until_close:
            try:
                part = one.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
        return answer


def status(port, head):
    answer = say(port, head if isinstance(head, bytes) else head.encode())
    return int(answer.split()[1]) if answer else None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from conftest import World
    it = World(tmp_path_factory.mktemp("letter"))
    cert, key = certificate(it.directory, "localhost")
    it.main_broker = it.broker()
    text = with_listeners(yaml(it.main_broker.port, ROUTES),
                          f"  - address: 127.0.0.1:0\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n")
    it.main = it.sluice(text)
    it.ports = dict(zip(("plain", "tls"), ports(it.main)))
    yield it
    it.end()


# --- A3: nothing is held without bound, in whatever state a connection is

def frame(opcode, payload):
    mask = b"\0\0\0\0"
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([0x80 | opcode]) + size + mask + payload


HANDSHAKE = (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
STATES = {
    "HEAD: answers that are not read": (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HEAD: errors that are not read": (b"", b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HEAD: refusals of publishes": (b"", b"POST /channels/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"),
    "HEAD: preflights": (b"", b"OPTIONS /channels/a HTTP/1.1\r\nHost: x\r\n\r\n"),
    "BUSY: behind a poll": (b"GET /poll?channel=lamps/1&wait=20 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "BUSY: behind a stream": (b"GET /sse?channel=lamps/1 HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 1000),
    "BODY: chunks of nothing but extensions": (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                                               b"1;" + b"e" * 100 + b"\r\nx\r\n"),
    "WS: pings": (HANDSHAKE, frame(9, b"p" * 125)),
    "WS: requests that are answered": (HANDSHAKE, frame(1, b'{"type":"ping","id":"' + b"i" * 60 + b'"}')),
    "WS: frames that are refused": (HANDSHAKE, frame(1, b'{"type":"nonsense"}')),
    "DRAIN: behind the last answer": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("state", STATES)
def test_a_connection_holds_no_more_than_its_bound(place, kind, state):
    first, again = STATES[state]
    before = place.main.rss()
    with socket.create_connection(("127.0.0.1", place.ports[kind]), 5) as one:
        if kind == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            one = context.wrap_socket(one)
        one.sendall(first)
        one.settimeout(1.5)
        sent, block = 0, again * (65536 // len(again))
        try:
            while sent < FLOOD:
                sent += one.send(block)
        except (TimeoutError, OSError):
            pass
        grown = place.main.rss() - before
        one.close()
    assert SANITIZED or grown < BOUND, f"{sent} bytes were sent, the gateway grew by {grown}"
    wait_until(lambda: requests.get(f"http://127.0.0.1:{place.ports['plain']}/healthz", timeout=5).status_code == 200)


# --- A4

def test_empty_lines_before_a_request(place):
    port = place.ports["plain"]
    good = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert status(port, b"\r\n" + good) == 200 and status(port, b"\n\n" + good) == 200
    assert status(port, b"\r\n" * 50 + good) == 400
    assert status(port, b"\r" + good) == 400
    # Between pipelined requests, as old clients send them after a body.
    assert say(port, good.replace(b"Connection: close\r\n", b"") + b"\r\n" + good).count(b" 200 OK") == 2


def test_a_head_that_comes_byte_by_byte_costs_no_more(place):
    """Cost grows with the bytes, not with their square."""
    port = place.ports["plain"]
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before = place.main.cpu()
        with pytest.raises(OSError):
            for _ in range(2_000_000):
                one.sendall(b"\r\n" * 500)
        assert place.main.cpu() - before < 3.0


# --- F2 to F4

def head(*lines, request="GET /healthz HTTP/1.1", host="Host: x"):
    return "\r\n".join([request, *([host] if host else []), *lines, "", ""])


@pytest.mark.parametrize("host", ["a b", "a/b", "<a>", "[::1", "a@b", "a:b", "a:123456", "a,b", '"a"', "a\\b", "[zz]", "a?b", "a#b",
                                  "%zz", "[::1]x", ":80"])
def test_invalid_hosts(place, host):
    assert status(place.ports["plain"], head("Connection: close", host=f"Host: {host}")) == (200 if host == "a,b" else 400)


@pytest.mark.parametrize("host", ["a", "a.b-c_d", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "%41", "a."])
def test_valid_hosts(place, host):
    assert status(place.ports["plain"], head("Connection: close", host=f"Host: {host}")) == 200


@pytest.mark.parametrize("line,want", {
    "GET http://a HTTP/1.1": 200, "GET http://a/healthz HTTP/1.1": 200, "GET http://a?x=1 HTTP/1.1": 200, "GET https://a/healthz HTTP/1.1": 200,
    "GET http:///healthz HTTP/1.1": 400, "GET http://a b/healthz HTTP/1.1": 400, "GET http://<a>/healthz HTTP/1.1": 400,
    "GET healthz HTTP/1.1": 400, "GET /healthz HTTP/2.0": 505, "GET /healthz HTTP/1.2": 505, "GET /healthz http/1.1": 400,
    "GET  /healthz HTTP/1.1": 400, "GET /healthz  HTTP/1.1": 400, "GET\t/healthz HTTP/1.1": 400, "G@T /healthz HTTP/1.1": 400,
    "get /healthz HTTP/1.1": 405}.items())
def test_request_lines(place, line, want):
    assert status(place.ports["plain"], head("Connection: close", request=line)) == want


def test_lists_in_several_lines(place):
    port = place.ports["plain"]
    # The gateway closes, or the client would wait for more.
    assert status(port, head("Connection: keep-alive", "Connection: close")) == 200
    assert status(port, head("Connection: x, keep-alive", "Connection: y ,close ")) == 200
    handshake = head("Connection: keep-alive", "Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", request="GET /ws HTTP/1.1").encode()
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.sendall(handshake)
        assert one.recv(1000).startswith(b"HTTP/1.1 101 ")


def test_handshakes_that_are_none(place):
    port = place.ports["plain"]
    lines = ["Connection: Upgrade, close", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    key = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
    assert status(port, head(*lines, key, request="GET /ws HTTP/1.0")) in (400, 426)
    assert status(port, head(*lines, key, key, request="GET /ws HTTP/1.1")) == 400
    assert status(port, head(*lines, key + "A", request="GET /ws HTTP/1.1")) == 400
    assert status(port, head(*lines, request="GET /ws HTTP/1.1")) == 400


# --- F5

def test_the_newest_ping_is_answered_once_the_peer_reads(place):
    with socket.create_connection(("127.0.0.1", place.ports["plain"]), 10) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(HANDSHAKE)
        while b"\r\n\r\n" not in one.recv(65536):
            pass
        one.settimeout(1)
        number = 0
        try:  # answers of an echo fill both buffers, and then pings go unanswered
            while number < 2000:
                one.sendall(frame(1, b'{"type":"ping","id":"' + b"i" * 100 + b'"}') * 50 + frame(9, b"n%d" % number))
                number += 1
        except TimeoutError:
            pass
        one.settimeout(0.5)
        read = b""
        while True:
            try:
                part = one.recv(1 << 20)
            except TimeoutError:
                break
            if not part:
                break
            read = (read + part)[-200000:]
        if number < 2000:  # it blocked: then the gateway got an unknown number of them whole
            assert b"\x8a" in read
        one.settimeout(5)
        one.sendall(b"")


# --- F6

@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_client_that_has_sent_all_still_gets_its_answers(place, kind):
    """FIN says that nothing more is sent, not that nobody reads (RFC 9112 section 9.6)."""
    mqtt = place.mqtt(place.main_broker.port, subscribe=["lamps/#"])
    requests_ = (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\non"
                 b"POST /channels/lamps/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\non")
    with socket.create_connection(("127.0.0.1", place.ports[kind]), 10) as one:
        if kind == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            one = context.wrap_socket(one)
        one.sendall(requests_)
        if kind == "plain":
            one.shutdown(socket.SHUT_WR)
        answer = b""
        while answer.count(b'"published"') < 2:
            part = one.recv(65536)
            assert part, answer
            answer += part
        if kind == "plain":
            assert one.recv(100) == b""  # and then the gateway closes as well
    with socket.create_connection(("127.0.0.1", place.ports["plain"]), 10) as one:
        one.sendall(b"GET /poll?channel=lamps/9&wait=20 HTTP/1.1\r\nHost: x\r\n\r\n")
        one.shutdown(socket.SHUT_WR)
        wait_until(lambda: 'transport_sessions{transport="longpoll"} 1' in place.main.get("/metrics").text)
        mqtt.publish("lamps/9", b"21")
        answer = one.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ") and b'"data":21' in answer
        assert one.recv(100) == b""


def test_a_stream_whose_client_has_gone_ends(place):
    with socket.create_connection(("127.0.0.1", place.ports["plain"]), 10) as one:
        one.sendall(b"GET /sse?channel=lamps/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        one.recv(1000)
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass
    wait_until(lambda: 'transport_sessions{transport="sse"} 0' in place.main.get("/metrics").text)


# --- F8, F9

def test_an_event_stream_is_read_line_by_line(place):
    mqtt = place.mqtt(place.main_broker.port)
    with requests.get(f"http://127.0.0.1:{place.ports['plain']}/sse?channel=lamps/7", stream=True, timeout=10) as stream:
        assert stream.headers["Transfer-Encoding"] == "chunked" and "no-transform" in stream.headers["Cache-Control"]
        lines = stream.iter_lines(chunk_size=512)
        assert next(lines).startswith(b"retry: ")
        mqtt.publish("lamps/7", b'{"a":\n1}')
        mqtt.publish("lamps/7", b"2")
        seen = []
        while not seen or b'"data":2' not in seen[-1]:
            line = next(lines)
            if line.startswith(b"data: "):
                seen.append(line)
    assert [json.loads(b"".join(part.removeprefix(b"data: ") for part in seen[:-1]))["data"]] == [{"a": 1}]


def test_an_event_stream_for_http_1_0_has_no_chunks(place):
    mqtt = place.mqtt(place.main_broker.port)
    with socket.create_connection(("127.0.0.1", place.ports["plain"]), 10) as one:
        one.sendall(b"GET /sse?channel=lamps/8 HTTP/1.0\r\n\r\n")
        answer = one.recv(65536)
        assert b"chunked" not in answer
        mqtt.publish("lamps/8", b"2")
        while b'"data":2' not in answer:
            answer += one.recv(65536)
    body = answer.split(b"\r\n\r\n", 1)[1]
    assert b"\r" not in body and body.startswith(b"retry: ")


# --- F10

def test_health_for_load_balancers_that_send_no_host(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES, extra='web: { hosts: ["dash.example"] }\n'), ready=False)
    wait_until(lambda: status(gateway.port, "GET /readyz HTTP/1.0\r\n\r\n") == 200)
    assert status(gateway.port, "OPTIONS /healthz HTTP/1.0\r\n\r\n") in (200, 405)
    assert status(gateway.port, "GET /channels HTTP/1.0\r\n\r\n") == 403
    # The target's own authority counts, whatever Host says (RFC 9112 section 3.2.2).
    for target, named, want in (("evil.example", "dash.example", 403), ("dash.example", "evil.example", 200), ("dash.example", "dash.example", 200)):
        assert status(gateway.port, f"GET http://{target}/channels HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n\r\n") == want
    assert status(gateway.port, "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n") == 403


# --- F11

def test_no_secret_for_other_processes_of_the_same_user(world, tmp_path):
    """Neither in /proc nor in a core file. Run as somebody else where this is root, who may see everything."""
    broker = world.broker()
    user = "nobody" if os.getuid() == 0 else None
    file = tmp_path / "s.yaml"
    file.write_text(yaml(broker.port, ROUTES, broker="  username: u\n  password: ${SECRET_OF_TEST}\n"))
    for path in [tmp_path, *tmp_path.parents]:
        if path == pathlib.Path("/tmp"):
            break
        path.chmod(0o755)
    env = dict(os.environ, SECRET_OF_TEST="hunter2-of-the-test")
    with open(tmp_path / "log", "wb") as log:
        child = subprocess.Popen([BINARY, "-c", str(file)], env=env, user=user, stdout=log, stderr=log, cwd=str(tmp_path))
    try:
        wait_until(lambda: "listening on" in (tmp_path / "log").read_text(), what=str((tmp_path / "log").read_text()))
        for name in ("environ", "mem", "maps"):
            seen = subprocess.run(["cat", f"/proc/{child.pid}/{name}"], user=user, capture_output=True)
            assert seen.returncode != 0 and b"hunter2" not in seen.stdout, name
        assert "hunter2" not in (tmp_path / "log").read_text()
    finally:
        child.kill()
        child.wait(10)
