"""Who reads a large payload or a stream of pictures slowly, over TLS and without: whole or not at all, and nothing is held for ever."""
import socket
import ssl
import threading
import time

import pytest
from conftest import yaml
from harness import wait_until
from locked import Doors
from pictures import parts, png
from test_reload import reload
from tlsfiles import certificate, ports, with_listeners

pytestmark = pytest.mark.sanitize

ROUTES = """
  - { topic: "cam/{name}", codec: blob, history: { count: 0 } }
"""
HUGE = png(padding=6_000_000)  # more than sockets take that nobody reads


class Gateway:
    """One with a plain listener and one of TLS, and those who read slowly."""

    def __init__(self, shared, extra):
        cert, key = certificate(shared.directory, "slow")
        listener = f"  - address: 127.0.0.1:0\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n"
        self.gateway = shared.sluice(with_listeners(yaml(shared.main_broker.port, ROUTES, broker="  max_packet: 8MiB\n", extra=extra), listener))
        self.context = ssl.create_default_context(cafile=str(cert))

    def ask(self, path, tls, version="1.1", headers=""):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", ports(self.gateway)[tls]))
        asked = self.context.wrap_socket(raw, server_hostname="localhost") if tls else raw
        asked.sendall(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n".encode())
        return asked

    def show(self, client, channel, payload):
        if self.gateway.get(f"/channels/{channel}/raw").content != payload:
            client.publish(channel, payload)
        wait_until(lambda: self.gateway.get(f"/channels/{channel}/raw").content == payload)


def head(stream):
    lines = []
    while (line := stream.readline().strip()):
        lines.append(line.decode())
    return lines


@pytest.fixture(scope="module")
def slow(shared):
    return Gateway(shared, "web: { heartbeat: 200ms, keepalive: 1s, request_timeout: 1s }\n")


@pytest.fixture(scope="module")
def patient(shared):
    return Gateway(shared, "")


def test_a_large_payload_arrives_whole(slow, client):
    """However long it takes, and whether the connection ends with it or not: no deadline is for those who go on reading."""
    slow.show(client, "cam/huge", HUGE)
    got = {}

    def read(tls, version, headers):
        with slow.ask("/channels/cam/huge/raw", tls, version, headers) as asked, asked.makefile("rb") as stream:
            lines, body = head(stream), b""
            length = int(next(line for line in lines if line.startswith("Content-Length")).split()[1])
            begin = time.monotonic()
            while len(body) < length and (some := stream.read(min(400_000, length - len(body)))):
                body += some
                if time.monotonic() - begin < 2.5:  # longer than any deadline of an idle or an ending connection
                    time.sleep(0.15)
            got[tls, version, headers] = body

    asked = [(tls, *how) for tls in (False, True) for how in (("1.1", ""), ("1.1", "Connection: close\r\n"), ("1.0", ""))]
    readers = [threading.Thread(target=read, args=how) for how in asked]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    assert {how: len(body) for how, body in got.items()} == dict.fromkeys(asked, len(HUGE))
    assert all(body == HUGE for body in got.values())


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
@pytest.mark.parametrize("tls", [False, True])
def test_who_stops_reading_is_given_up(slow, client, tls, headers):
    slow.show(client, "cam/huge", HUGE)
    before = slow.gateway.metric("sluice_connections")
    with slow.ask("/channels/cam/huge/raw", tls, headers=headers):
        wait_until(lambda: slow.gateway.metric("sluice_connections") > before)
        wait_until(lambda: slow.gateway.metric("sluice_connections") <= before, what="the connection to be given up")


def test_pipelined_requests_behind_it(slow, client):
    slow.show(client, "cam/huge", HUGE)
    for tls in (False, True):
        with slow.ask("/channels/cam/huge/raw", tls) as asked, asked.makefile("rb") as stream:
            asked.sendall(b"GET /channels/cam/huge/raw HTTP/1.1\r\nHost: x\r\nRange: bytes=5-100004\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n")
            time.sleep(0.1)
            assert head(stream)[0] == "HTTP/1.1 200 OK" and stream.read(len(HUGE)) == HUGE
            assert head(stream)[0] == "HTTP/1.1 206 Partial Content" and stream.read(100_000) == HUGE[5:100_005]
            assert head(stream)[0] == "HTTP/1.1 200 OK" and stream.read() == b'{"status":"ok"}'


@pytest.mark.parametrize("size", [20_000, 50_000, 700_000])
def test_a_slow_viewer_over_tls_skips_whole_pictures(patient, client, size):
    """Small ones are copied, larger ones are sent from where they lie, encrypted in part."""
    pictures = [png(colour=(number % 256, 7, size % 251), padding=size) for number in range(min(150, 10_000_000 // size))]
    patient.show(client, f"cam/{size}", pictures[0])
    with patient.ask(f"/channels/cam/{size}/raw?stream=mjpeg", True) as asked, asked.makefile("rb") as stream:
        head(stream)
        seen = parts(stream)
        got = [pictures.index(next(seen)[1])]
        for picture in pictures[1:]:
            client.publish(f"cam/{size}", picture)
        wait_until(lambda: patient.gateway.get(f"/channels/cam/{size}/raw").content == pictures[-1])
        while got[-1] != len(pictures) - 1:
            got.append(pictures.index(next(seen)[1]))  # whole, or it is none of them
    assert got[0] == 0 and got == sorted(got)


@pytest.mark.parametrize("tls", [False, True])
def test_a_viewer_that_is_gone_ends(slow, client, tls):
    slow.show(client, "cam/huge", HUGE)
    viewers = slow.gateway.metric("sluice_sessions")
    with slow.ask("/channels/cam/huge/raw?stream=mjpeg", tls):
        wait_until(lambda: slow.gateway.metric("sluice_sessions") == viewers + 1)
        wait_until(lambda: slow.gateway.metric("sluice_sessions") == viewers, what="the viewer to be given up")


def test_it_ends_when_only_some_fields_are_left(shared, client):
    """A viewer of a still picture is not sent it again, and one of a route with a type gets no reduced value under it."""
    doors = Doors(shared.directory)
    routes = "\n  - { topic: \"rooms/{room}/{kind}\", content_type: image/jpeg }\n"
    text = doors.yaml(shared.main_broker.port, routes=routes, extra="web: { heartbeat: 200ms }\n")
    gateway = shared.sluice(text)
    client.publish("rooms/a/cam", png())
    wait_until(lambda: gateway.get("/channels/rooms/a/cam/raw", headers=doors.bearer("viewer")).status_code == 200)
    token = doors.token("viewer")
    with socket.create_connection(("127.0.0.1", gateway.port), 15) as viewer, viewer.makefile("rb") as stream:
        viewer.sendall(f"GET /channels/rooms/a/cam/raw?stream=mjpeg HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert head(stream)[0] == "HTTP/1.1 200 OK"
        seen = parts(stream)
        assert next(seen)[1] == next(seen)[1] == png()  # the heartbeat shows it again
        reload(gateway, text.replace('subscribe: ["rooms/#", "lamps/+"]', 'subscribe: ["rooms/#", "lamps/+"]\n    fields: [t]'))
        assert all(body == png() for _, body in seen)  # and it ends
    wait_until(lambda: gateway.metric("sluice_sessions") == 0)
