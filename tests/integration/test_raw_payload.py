"""GET /channels/NAME/raw: payloads as the device sent them, with requests and curl."""
import hashlib
import re
import subprocess

import paho.mqtt.client as mqtt
import pytest
import requests
from conftest import yaml
from harness import BINARY, wait_until
from locked import Doors
from mqttclients import Properties  # noqa: F401
from paho.mqtt.packettypes import PacketTypes
from pictures import JPEG, png
from test_auth import code

pytestmark = pytest.mark.memory

ROUTES = """
  - { topic: "cam/{rest...}", codec: blob, history: { count: 5 } }
  - { topic: "plain/{rest...}" }
  - { topic: "json/{name}", codec: json }
  - { topic: "typed/{name}", content_type: "application/cbor" }
  - { topic: "blob/{name}", channel: "named/{name}", codec: blob, content_type: image/avif, history: { count: 0 }, publish: {} }
"""


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra='web: { origins: ["https://app.example", "https://*.some.example"] }\n'))


def show(gateway, client, channel, payload, topic=None):
    """Publishes it, and waits until it is there. Returns the answer."""
    client.publish(topic or channel, payload)
    return wait_until(lambda: (answer := gateway.get(f"/channels/{channel}/raw")).content == payload and answer, what=f"{channel} to be there")


ATTACKS = {
    "html": b"<!doctype html><script>document.title='run'</script>",
    "html after a comment": b"<!-- --><html><body onload=alert(1)>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "xml with a style sheet": b"<?xml version='1.0'?><?xml-stylesheet href='x'?><a/>",
    "script": b"alert(document.domain)",
    "gif that is a script": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
    "html behind a jpeg's first bytes": b"\xff\xd8\xff<script>alert(1)</script>",
    "html with a BOM": "\ufeff<html><script>alert(1)</script>".encode(),
    "utf-16 html": "<html><script>alert(1)</script>".encode("utf-16"),
    "pdf": b"%PDF-1.7\n/OpenAction << /S /JavaScript >>\n\xff",
    "flash": b"CWS\x08\xff\xff",
    "header split": b"\r\n\r\n<html>",
}
HARMLESS = {"image/gif", "image/jpeg", "text/plain; charset=utf-8", "application/octet-stream", "application/json"}


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_that_runs(gateway, client, name):
    answer = show(gateway, client, "plain/attack", ATTACKS[name])
    assert answer.headers["Content-Type"] in HARMLESS
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("payload,kind", [
    (JPEG, "image/jpeg"), (png(), "image/png"), (b"GIF89a....", "image/gif"), (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    (b"RIFF\x10\0\0\0WAVEfmt ", "application/octet-stream"), (b'{"a": [1, 2]}', "application/json"), (b"21.5", "application/json"),
    ("Grüße".encode(), "text/plain; charset=utf-8"), (b"\xff\xd8", "application/octet-stream"), (b"\x89PNG\r\n", "application/octet-stream")])
def test_types_by_the_first_bytes(gateway, client, payload, kind):
    answer = show(gateway, client, "plain/kind", payload)
    assert answer.headers["Content-Type"] == kind and answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == str(len(payload))


def test_the_route_knows_better(gateway, client):
    assert show(gateway, client, "typed/x", JPEG).headers["Content-Type"] == "application/cbor"


def test_the_device_says_what_it_is(gateway, shared):
    device = mqtt.Client(protocol=mqtt.MQTTv5)
    device.connect("127.0.0.1", shared.main_broker.port)
    device.loop_start()
    try:
        for said, payload, kind in [("image/bmp", b"BM\0\0", "image/bmp"), ("audio/ogg", b"\xffOgg", "audio/ogg"),
                                    ("text/html", b"<p>1", "text/plain; charset=utf-8"), ("image/svg+xml", b"<svg/>", "text/plain; charset=utf-8"),
                                    ("text/javascript", b"alert(2)", "text/plain; charset=utf-8"), ("image/png, text/html", b"<p>2", "text/plain; charset=utf-8")]:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = said
            device.publish("plain/said", payload, 1, properties=properties).wait_for_publish(10)
            answer = wait_until(lambda: (a := gateway.get("/channels/plain/said/raw")).content == payload and a)
            assert answer.headers["Content-Type"] == kind, said
    finally:
        device.disconnect()
        device.loop_stop()


def test_a_channel_may_be_called_raw(gateway, client):
    client.publish("plain/raw", b"outer")
    show(gateway, client, "plain/raw", b"inner")
    assert gateway.get("/channels/plain%2Fraw").json()["data"] == "inner"
    assert gateway.get("/channels/plain/raw").json()["data"] == "inner"
    assert code(gateway.get("/channels/plain/raw?v="), 404) in ("no_value", "unknown_channel")
    client.publish("plain", b"outer")
    assert gateway.get("/channels/plain/raw/raw").content == b"inner"
    client.publish("plain/raw", b"")
    wait_until(lambda: gateway.get("/channels/plain/raw").status_code == 404)
    assert gateway.get("/channels/plain/raw/history").json()["channel"] == "plain/raw"
    assert code(gateway.get("/channels/nowhere/raw"), 404) == "unknown_channel"
    assert code(gateway.get("/channels/plain/none/raw"), 404) == "no_value"
    assert gateway.post("/channels/named/raw", b"1").json()["status"] == "published"
    assert code(gateway.get("/channels/raw"), 404) == "unknown_channel"


def test_the_empty_payload_is_no_value(gateway, client):
    show(gateway, client, "plain/cleared", b"1")
    client.publish("plain/cleared", b"")
    wait_until(lambda: gateway.get("/channels/plain/cleared/raw").status_code == 404)


def test_known_pictures_are_not_sent_again(gateway, client):
    first = show(gateway, client, "plain/etag", JPEG)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache" and re.fullmatch('"[\\w-]{16}"', etag)
    for known in (etag, "W/" + etag, f'"x", {etag}', "*"):
        answer = gateway.get("/channels/plain/etag/raw", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag), known
        assert "Content-Length" not in answer.headers
    head = requests.head(gateway.http + "/channels/plain/etag/raw", timeout=5)
    assert (head.status_code, head.headers["Content-Length"], head.headers["ETag"]) == (200, str(len(JPEG)), etag)
    second = show(gateway, client, "plain/etag", png())
    assert second.headers["ETag"] != etag
    assert gateway.get("/channels/plain/etag/raw", headers={"If-None-Match": etag}).content == png()
    show(gateway, client, "plain/etag", JPEG)
    assert gateway.get("/channels/plain/etag/raw", headers={"If-None-Match": etag}).status_code == 304  # the same picture again


BODY = png(padding=100_000)


@pytest.mark.parametrize("asked,status,part", [
    ("bytes=0-0", 206, slice(0, 1)), ("bytes=10-19", 206, slice(10, 20)), ("bytes=50000-", 206, slice(50000, None)), ("bytes=-7", 206, slice(-7, None)),
    ("bytes=0-9999999999999999999999", 206, slice(0, None)), ("Bytes=1-2", 206, slice(1, 3)), ("bytes=-99999999", 206, slice(0, None)),
    ("bytes=999999-", 416, None), ("bytes=-0", 416, None), ("bytes=5-4", 200, None), ("bytes=0-1,5-6", 200, None), ("bytes=a-b", 200, None),
    ("bytes=-", 200, None), ("items=0-1", 200, None), ("bytes=1-2x", 200, None), ("bytes= 1-2", 200, None)])
def test_ranges(gateway, client, asked, status, part):
    if gateway.get("/channels/plain/range/raw").content != BODY:
        show(gateway, client, "plain/range", BODY)
    answer = gateway.get("/channels/plain/range/raw", headers={"Range": asked})
    assert answer.status_code == status
    if status == 206:
        start, stop, _ = part.indices(len(BODY))
        assert answer.content == BODY[part] and answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BODY)}"
    elif status == 416:
        assert code(answer, 416) == "range_not_satisfiable" and answer.headers["Content-Range"] == f"bytes */{len(BODY)}"
    else:
        assert answer.content == BODY and "Content-Range" not in answer.headers


def test_if_range(gateway, client):
    etag = show(gateway, client, "plain/ifrange", BODY).headers["ETag"]
    for unless, status in ((etag, 206), ("W/" + etag, 200), ('"other"', 200), ("Sat, 29 Oct 1994 19:43:31 GMT", 200)):
        assert gateway.get("/channels/plain/ifrange/raw", headers={"Range": "bytes=1-2", "If-Range": unless}).status_code == status, unless


def curl(*args):
    return subprocess.run(["curl", "-sS", "--max-time", "20", *args], capture_output=True, check=True).stdout


def test_curl_takes_parts_and_goes_on(gateway, client, tmp_path):
    show(gateway, client, "plain/curl", BODY)
    url = gateway.http + "/channels/plain/curl/raw"
    assert curl("-r", "100-199", url) == BODY[100:200] and curl("-r", "-10", url) == BODY[-10:]
    broken = tmp_path / "picture"
    broken.write_bytes(BODY[:12345])
    curl("-C", "-", "-o", str(broken), url)
    assert hashlib.sha256(broken.read_bytes()).digest() == hashlib.sha256(BODY).digest()
    tag = tmp_path / "tag"
    assert curl("--etag-save", str(tag), url) == BODY
    assert curl("--etag-compare", str(tag), "-w", "%{http_code}", url) == b"304"


def test_pipelined_answers_keep_their_order(gateway, client):
    """What leaves from where it lies must not be overtaken by the next answer."""
    show(gateway, client, "plain/order", BODY)
    with requests.Session() as session:
        for _ in range(20):
            assert session.get(gateway.http + "/channels/plain/order/raw", timeout=5).content == BODY
            assert session.get(gateway.http + "/healthz", timeout=5).json() == {"status": "ok"}
    urls = [gateway.http + "/channels/plain/order/raw", gateway.http + "/healthz"] * 3
    assert curl(*urls) == (BODY + b'{"status":"ok"}') * 3


def test_blob_gives_an_address(gateway, client):
    """JSON transports get where it is, MQTT clients and raw sockets the bytes."""
    cursor = gateway.get("/poll?channel=cam/%23&wait=0").headers["Sluice-Cursor"]
    show(gateway, client, "cam/front door/1", JPEG)
    message = gateway.get(f"/poll?channel=cam/%23&cursor={cursor}").json()["messages"][0]
    data = message["data"]
    assert set(data) == {"url", "type", "bytes"} and (data["type"], data["bytes"]) == ("image/jpeg", len(JPEG))
    assert data["url"].startswith("channels/cam/front%20door/1/raw?v=") and gateway.get("/channels/cam%2Ffront door/1").json()["data"] == data
    picture = gateway.get("/" + data["url"])
    assert picture.content == JPEG and picture.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert picture.headers["Sluice-Cursor"] == message["cursor"] and f'?v={picture.headers["ETag"][1:-1]}' in data["url"]

    show(gateway, client, "cam/front door/1", png())  # the address goes on meaning the picture that it was made for
    assert gateway.get("/" + data["url"]).content == JPEG
    history = gateway.get("/channels/cam/front door/1/history").json()["messages"]
    assert [gateway.get("/" + m["data"]["url"]).content for m in history][-2:] == [JPEG, png()]
    for number in range(6):
        show(gateway, client, "cam/front door/1", png(colour=(0, 0, number)))
    gone = gateway.get("/" + data["url"])  # then it is the newest, which is not kept under that address
    assert gone.content == png(colour=(0, 0, 5)) and gone.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["//double", "slash/", "a b/ü", "100%", "q?x=1&y", "raw", "history", "..", "a/../b"])
def test_the_address_of_any_name(gateway, client, name):
    payload = name.encode() + b"\xff"
    client.publish("cam/" + name, payload)
    found = lambda: [m for m in gateway.get("/poll?channel=cam/%23&cursor=last&wait=0").json()["messages"] if m["channel"] == "cam/" + name]
    data = wait_until(found)[0]["data"]
    assert curl(f"{gateway.http}/{data['url']}") == payload


def test_blob_by_the_route_and_back(gateway, client, shared):
    heard = shared.mqtt(shared.main_broker.port, subscribe=["blob/x"])
    assert gateway.post("/channels/named/x?as=json", b'{"base64":"/9j/"}').json()["status"] == "published"
    assert gateway.post("/channels/named/x", b"\x00\x01").json()["status"] == "published"
    wait_until(lambda: heard.payloads("blob/x") == [b"\xff\xd8\xff", b"\x00\x01"])
    data = wait_until(lambda: (d := gateway.get("/channels/named/x").json()["data"])["bytes"] == 2 and d)
    assert data["type"] == "image/avif" and data["url"].startswith("channels/named/x/raw?v=")


@pytest.mark.parametrize("asked,policy", [
    ({}, "same-origin"), ({"Referer": "https://app.example/page?x"}, "cross-origin"), ({"Referer": "https://app.example"}, "cross-origin"),
    ({"Referer": "https://evil.example/https://app.example/"}, "same-origin"), ({"Referer": "https://app.example.evil.example/"}, "same-origin"),
    ({"Referer": "https://a.some.example/x"}, "cross-origin"), ({"Referer": "about:client"}, "same-origin"), ({"Referer": ""}, "same-origin"),
    ({"Origin": "https://app.example"}, "cross-origin")])
def test_pages_that_may_show_it(gateway, client, asked, policy):
    if gateway.get("/channels/plain/policy/raw").status_code != 200:
        show(gateway, client, "plain/policy", b"1")
    answer = gateway.get("/channels/plain/policy/raw", headers=asked)
    assert answer.headers["Cross-Origin-Resource-Policy"] == policy
    assert {"Origin", "Referer"} <= set(answer.headers["Vary"].split(", "))
    if "Origin" in asked:
        assert answer.headers["Access-Control-Allow-Origin"] == asked["Origin"] and "ETag" in answer.headers["Access-Control-Expose-Headers"]


def test_pages_that_may_not(gateway):
    assert code(gateway.get("/channels/plain/policy/raw", headers={"Origin": "https://evil.example"}), 403) == "forbidden"


def test_who_may(shared, client):
    doors = Doors(shared.directory)
    gateway = doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, auth="  cookie: token\n"))
    client.publish("rooms/a/t", JPEG)
    headers = doors.bearer("viewer")
    wait_until(lambda: gateway.get("/channels/rooms/a/t/raw", headers=headers).content == JPEG)
    mine = gateway.get("/channels/rooms/a/t/raw", headers=headers)
    assert mine.headers["Cache-Control"] == "private, no-cache" and mine.headers["Vary"] == "Authorization, Cookie"
    assert gateway.get("/channels/rooms/a/t/raw", headers={**headers, "If-None-Match": mine.headers["ETag"]}).headers["Vary"] == mine.headers["Vary"]
    path = "/channels/rooms/a/t/raw"
    assert code(gateway.get(path), 401) == "unauthorized"
    token = headers["Authorization"].split()[1]
    assert gateway.get(path, cookies={"token": token}).content == JPEG
    ticket = gateway.post("/ticket", headers=headers).json()["ticket"]
    assert gateway.get(f"{path}?ticket={ticket}").content == JPEG
    assert code(gateway.get(f"{path}?ticket={ticket}"), 401)
    some = gateway.get(path, headers=doors.bearer("some"))
    assert code(some, 403) == "forbidden" and "fields" in some.json()["message"]
    for there in ("secret/plans", "secret/nothing"):
        assert code(gateway.get(f"/channels/{there}/raw", headers=headers), 403) == "forbidden"


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "text/javascript", "text/css", "application/xhtml+xml", "image", "image/", "a/b c", "image/png; x"])
def test_types_that_are_refused(tmp_path, kind):
    file = tmp_path / "sluice.yaml"
    file.write_text(f'broker: {{ url: "mqtt://127.0.0.1:1" }}\nroutes:\n  - topic: a\n    content_type: "{kind}"\n')
    check = subprocess.run([BINARY, "check", str(file)], capture_output=True, text=True)
    assert check.returncode == 2 and f":4:19: routes[0].content_type: '{kind}' can't be served" in check.stdout + check.stderr
