"""GET /channels/NAME/raw?stream=mjpeg: the pictures of a channel as a camera sends them."""
import contextlib
import http.client
import socket
import subprocess
import time

import pytest
from conftest import yaml
from harness import SANITIZED, wait_until
from locked import Doors
from pictures import JPEG, parts, png
from test_auth import code

pytestmark = pytest.mark.sanitize

ROUTES = """
  - { topic: "cam/{name}", codec: blob }
  - { topic: "all/{name}", history: { count: 0 } }
"""
LARGE = 400_000  # more than a socket takes at once


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="limits: { connections: 500, connections_per_address: 0 }\n"))


@contextlib.contextmanager
def watch(gateway, channel, headers={}, more=""):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
    try:
        connection.request("GET", f"/channels/{channel}/raw?stream=mjpeg{more}", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("multipart/x-mixed-replace; boundary="), answer.read()
        yield answer
        answer.close()
    finally:
        connection.close()


def show(gateway, client, channel, payload):
    client.publish(channel, payload)
    wait_until(lambda: gateway.get(f"/channels/{channel}/raw").content == payload)


def test_the_last_picture_and_then_each(gateway, client):
    show(gateway, client, "cam/a", JPEG)
    with watch(gateway, "cam/a") as answer:
        assert answer.getheader("Content-Security-Policy") == "sandbox; default-src 'none'"
        assert answer.getheader("X-Content-Type-Options") == "nosniff" and "no-store" in answer.getheader("Cache-Control")
        seen = parts(answer)
        headers, body = next(seen)
        assert body == JPEG and headers["content-type"] == "image/jpeg"
        assert headers["sluice-cursor"] == gateway.get("/channels/cam/a").json()["cursor"]
        for number in range(5):
            picture = png(colour=(number, 0, 0), padding=number * 40_000)
            client.publish("cam/a", picture)
            headers, body = next(seen)
            assert body == picture and headers["content-type"] == "image/png"


def test_what_is_no_picture_is_not_shown(gateway, client):
    show(gateway, client, "all/mixed", b"<html><script>alert(1)</script>")
    answer = gateway.get("/channels/all/mixed/raw?stream=mjpeg")
    assert code(answer, 400) == "bad_request" and "no picture" in answer.json()["message"]
    client.publish("all/mixed", b"")
    wait_until(lambda: gateway.get("/channels/all/mixed").status_code == 404)
    with watch(gateway, "all/mixed") as answer: # it waits for the first one
        seen = parts(answer)
        for payload in (b"<svg/>", b"21", JPEG):
            client.publish("all/mixed", payload)
        assert next(seen)[1] == JPEG


def test_errors(gateway):
    assert code(gateway.get("/channels/nowhere/raw?stream=mjpeg"), 404) == "unknown_channel"
    assert code(gateway.get("/channels/cam/%2B/raw?stream=mjpeg"), 400) == "bad_request"
    assert code(gateway.get("/channels/cam/a/raw?stream=mp4"), 400) == "bad_request"
    assert code(gateway.get("/channels/cam/a/raw?stream=mjpeg&interval=x"), 400) == "bad_request"


class Slow:
    """A viewer who reads when told."""

    def __init__(self, gateway, channel):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(15)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.socket.sendall(f"GET /channels/{channel}/raw?stream=mjpeg HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def parts(self):
        stream = self.socket.makefile("rb")
        while stream.readline().strip():
            pass
        return parts(stream)


def test_a_slow_viewer_skips_whole_pictures(gateway, client):
    pictures = [png(colour=(number, 9, 9), padding=LARGE) for number in range(30)]
    show(gateway, client, "cam/slow", pictures[0])
    slow = Slow(gateway, "cam/slow")
    with watch(gateway, "cam/slow") as answer:
        quick = parts(answer)
        assert next(quick)[1] == pictures[0]
        for picture in pictures[1:]:
            client.publish("cam/slow", picture)
            assert next(quick)[1] == picture # nobody waits for the slow one
    got = []
    for _, body in slow.parts():
        got.append(pictures.index(body)) # whole, or it is none of them
        if got[-1] == len(pictures) - 1:
            break
    assert got == sorted(set(got)) and got[0] == 0 and len(got) < 10, got
    slow.socket.close()


def sessions(gateway):
    return gateway.metric("sluice_sessions")


def test_a_silent_camera_is_shown_again_and_a_viewer_who_does_not_read_is_let_go(shared, client):
    gateway = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="web: { heartbeat: 200ms }\n"))
    show(gateway, client, "cam/still", JPEG)
    with watch(gateway, "cam/still") as answer:
        seen = parts(answer)
        assert [next(seen)[1] for _ in range(2)] == [JPEG, JPEG]
    wait_until(lambda: sessions(gateway) == 0)
    show(gateway, client, "cam/still", png(padding=900_000))
    slow = Slow(gateway, "cam/still")
    wait_until(lambda: sessions(gateway) == 1)
    wait_until(lambda: sessions(gateway) == 0, what="the viewer to be given up")
    slow.socket.close()


def test_the_pace(gateway, client):
    show(gateway, client, "cam/pace", png(colour=(255, 0, 0)))
    with watch(gateway, "cam/pace", more="&interval=500ms") as answer:
        seen = parts(answer)
        next(seen)
        begin = time.monotonic()
        for number in range(50):
            client.publish("cam/pace", png(colour=(0, number, 0)))
        count = 1
        while next(seen)[1] != png(colour=(0, 49, 0)):
            count += 1
        assert count <= (time.monotonic() - begin) / 0.5 + 2


if not SANITIZED:  # a sanitizer keeps what was freed
    def test_viewers_share_one_picture(gateway, client):
        """300 of them who do not read, and 0.9 MB: copies would be 270 MB."""
        show(gateway, client, "cam/many", JPEG)
        before = gateway.rss()
        viewers = [Slow(gateway, "cam/many") for _ in range(300)]
        wait_until(lambda: sessions(gateway) == 300, what="all viewers")
        client.publish("cam/many", png(padding=900_000))
        wait_until(lambda: len(gateway.get("/channels/cam/many/raw").content) > 900_000)
        grown = gateway.rss() - before
        assert grown < 40_000_000, grown
        for viewer in viewers:
            viewer.socket.close()
        wait_until(lambda: sessions(gateway) == 0)


def test_it_ends_with_the_token(shared, client):
    doors = Doors(shared.directory)
    gateway = doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, jwt_extra="    leeway: 0s\n"))
    client.publish("rooms/a/t", JPEG)
    headers = doors.bearer("viewer")
    wait_until(lambda: gateway.get("/channels/rooms/a/t/raw", headers=headers).content == JPEG)
    some = gateway.get("/channels/rooms/a/t/raw?stream=mjpeg", headers=doors.bearer("some"))
    assert code(some, 403) == "forbidden" and "fields" in some.json()["message"]
    assert code(gateway.get("/channels/rooms/a/t/raw?stream=mjpeg"), 401) == "unauthorized"
    ticket = gateway.post("/ticket", headers=doors.bearer("viewer", lifetime=2)).json()["ticket"]
    with watch(gateway, "rooms/a/t", more="&ticket=" + ticket) as answer:
        seen = parts(answer)
        assert next(seen)[1] == JPEG
        assert next(seen, None) is None
    wait_until(lambda: sessions(gateway) == 0)


def test_it_ends_with_the_gateway(shared, client):
    gateway = shared.sluice(yaml(shared.main_broker.port, ROUTES))
    show(gateway, client, "cam/end", JPEG)
    with watch(gateway, "cam/end") as answer:
        seen = parts(answer)
        next(seen)
        gateway.stop()
        assert next(seen, None) is None


def test_curl_reads_it(gateway, client):
    show(gateway, client, "cam/curl", JPEG)
    with subprocess.Popen(["curl", "-sSN", "--max-time", "15", gateway.http + "/channels/cam/curl/raw?stream=mjpeg"], stdout=subprocess.PIPE) as curl:
        seen = parts(curl.stdout)
        assert next(seen)[1] == JPEG
        client.publish("cam/curl", png())
        assert next(seen)[1] == png()
        curl.kill()
