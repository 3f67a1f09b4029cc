"""The HTTP interface without transports: lists, last values, history, health; and rubbish."""
import asyncio
import socket
import urllib.parse

import pytest
import requests
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.memory


def exchange(sluice, bytes, shut=True):
    """Sends bytes, returns all that comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", sluice.port), 10) as one:
        one.sendall(bytes)
        if shut:
            one.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            try:
                more = one.recv(65536)
            except ConnectionResetError:
                return answer
            if not more:
                return answer
            answer += more


def test_last_value(sluice, client):
    client.publish("rooms/one/t", "21.5")
    body = wait_until(lambda: (lambda a: a.status_code == 200 and a.json())(sluice.get("/channels/rooms/one/t")))
    assert set(body) == {"channel", "data", "cursor", "ts"} and body["data"] == 21.5
    assert sluice.get("/channels/rooms/none/t").json()["code"] == "no_value"
    assert sluice.get("/channels/rooms/none/t").status_code == 404
    assert sluice.get("/channels/nowhere/at/all/x").json()["code"] == "unknown_channel"


def test_empty_payload_clears(sluice, client):
    client.publish("rooms/clear/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/clear/t").status_code == 200)
    client.publish("rooms/clear/t", b"")
    wait_until(lambda: sluice.get("/channels/rooms/clear/t").status_code == 404)
    messages = sluice.get("/channels/rooms/clear/t/history").json()["messages"]
    assert [m["data"] for m in messages] == [1, None]
    assert "rooms/clear/t" not in [c["channel"] for c in sluice.get("/channels").json()["channels"]]


def test_channels(sluice, client):
    client.publish("rooms/list/b", "1")
    client.publish("rooms/list/a", "2")
    client.publish("lamps/list", "3")
    wait_until(lambda: sluice.get("/channels/lamps/list").status_code == 200)
    body = sluice.get("/channels?filter=rooms/list/+").json()
    assert [c["channel"] for c in body["channels"]] == ["rooms/list/a", "rooms/list/b"]
    assert all(set(c) == {"channel", "cursor", "ts", "age", "publish"} and c["age"] >= 0 for c in body["channels"])
    publish = {c["channel"]: c["publish"] for c in sluice.get("/channels").json()["channels"]}
    assert publish["lamps/list"] is True and publish["rooms/list/a"] is False
    assert sluice.get("/channels?filter=a%23").json()["code"] == "bad_request"


def test_history(sluice, client):
    for number in range(10):
        client.publish("rooms/history/t", str(number))
    wait_until(lambda: sluice.get("/channels/rooms/history/t").json().get("data") == 9)
    body = sluice.get("/channels/rooms/history/t/history").json()
    assert [m["data"] for m in body["messages"]] == list(range(10)) and body["gaps"] == []
    assert [m["data"] for m in sluice.get("/channels/rooms/history/t/history?limit=3").json()["messages"]] == [7, 8, 9]
    cursor, got = body["messages"][1]["cursor"], []
    while len(got) < 8:
        answer = sluice.get("/channels/rooms/history/t/history", params={"limit": 3, "cursor": cursor})
        page = answer.json()
        assert answer.headers["Sluice-Cursor"] == page["cursor"]
        got += [m["data"] for m in page["messages"]]
        cursor = page["cursor"]
    assert got == list(range(2, 10))
    for query in ("limit=0", "limit=x", "cursor=zz", "limit=-1"):
        assert sluice.get(f"/channels/rooms/history/t/history?{query}").status_code == 400
    assert sluice.get("/channels/nowhere/at/all/x/history").status_code == 404


def test_health(sluice):
    assert sluice.get("/healthz").json() == {"status": "ok"}
    assert sluice.get("/readyz").json()["status"] == "ready"
    text = sluice.get("/metrics").text
    assert "# TYPE sluice_messages_total counter" in text


def test_ready_says_no_without_a_broker(world):
    from conftest import yaml
    from harness import free_port
    gateway = world.sluice(yaml(free_port()), ready=False)
    assert gateway.get("/healthz").status_code == 200
    answer = gateway.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_down")
    poll = gateway.get("/poll?channel=rooms/a/t&wait=0")
    assert poll.status_code == 204 and poll.headers["Sluice-Upstream"] == "down"


def test_dashboard(sluice):
    page = sluice.get("/")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html") and "<title>" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for path in ("/dashboard.js", "/dashboard.css"):
        assert sluice.get(path).status_code == 200


def test_methods(sluice):
    assert requests.head(sluice.http + "/healthz").headers["Content-Length"] == "15"
    assert requests.delete(sluice.http + "/channels/lamps/1").status_code == 405
    assert requests.put(sluice.http + "/healthz").headers["Allow"] == "GET, HEAD"
    assert requests.post(sluice.http + "/poll?channel=rooms/a/t").status_code == 405
    assert sluice.get("/nothing/here").json()["code"] == "not_found"


TOPICS = ["deep/sp ace/in topic", "deep/haus/küche", "deep/家/厨房", "deep/🛋️/💡", "deep/empty//level", "deep/trailing/",
          "deep//", "/leading/slash", "deep/percent/%2F%00/enc", "deep/query/a?b=c&d=e%23f", "deep/dots/../up/./here",
          "deep/quote\"s\\<tag>&amp;", "deep/a=b;c", "deep/history", "deep/" + "l/" * 60 + "l"]


@pytest.mark.parametrize("topic", TOPICS)
def test_topics_of_every_kind_everywhere(sluice, client, topic):
    quoted = urllib.parse.quote(topic, safe="")
    client.publish(topic, "1")
    wait_until(lambda: sluice.raw("/channels/" + quoted)[0] == 200)
    assert sluice.raw("/channels/" + quoted)[1]["channel"] == topic
    assert sluice.raw("/channels/" + quoted + "/history")[1]["messages"][-1]["data"] == 1
    answer = sluice.get("/poll", params={"channel": topic, "cursor": "last"})
    assert [m["channel"] for m in answer.json()["messages"]] == [topic]
    assert sluice.raw("/poll?cursor=last&channel=" + quoted)[1]["messages"][0]["channel"] == topic
    status, body = sluice.raw("/channels/" + quoted, "POST", b"2")
    assert (status, body) == (200, {"status": "published"})
    wait_until(lambda: sluice.raw("/channels/" + quoted)[1]["data"] == 2)

    async def over_websocket():
        async with connect(sluice) as ws:
            await ws.subscribe(topic)
            assert (await ws.until("message"))["channel"] == topic
            await ws.send(type="publish", id=1, channel=topic, data=3)
            assert {(await ws.recv())["type"], (await ws.recv())["type"]} == {"message", "published"}
    asyncio.run(over_websocket())


def test_plain_slashes_in_paths(sluice, client):
    client.publish("deep/plain//x/", "1")
    wait_until(lambda: sluice.raw("/channels/deep/plain//x/")[0] == 200)
    assert sluice.raw("/channels/deep/plain//x/")[1]["channel"] == "deep/plain//x/"


PAYLOADS = [
    (b"21.5", 21.5), (b'"ON"', "ON"), (b"ON", "ON"), (b"null", None), (b' {"a": [1, {"b": null}]}\n', {"a": [1, {"b": None}]}),
    (b"\x00", "\0"), (b"\xff\xfe", {"base64": "//4="}), (b"a\r\nb\tc", "a\r\nb\tc"), (b"NaN", "NaN"), (b"-", "-"),
    (b"\xef\xbb\xbfbom", "\ufeffbom"), ("\u2028é𝄞".encode(), "\u2028é𝄞"), (b"{" * 600, "{" * 600),
    (b"[" * 512 + b"]" * 512, None), (b"[" * 513 + b"]" * 513, "[" * 513 + "]" * 513), (b'{"a":1}{"b":2}', '{"a":1}{"b":2}'),
    (b"x" * 1048576, "x" * 1048576), (b'"' + b"y" * 1048000 + b'"', "y" * 1048000), (b"\x01\x1f\x7f", "\x01\x1f\x7f"),
]


@pytest.mark.parametrize("payload,data", PAYLOADS, ids=lambda value: repr(value)[:20])
def test_payloads_of_codec_auto(sluice, client, payload, data):
    cursor = sluice.get("/poll?channel=rooms/payload/t&wait=0").headers["Sluice-Cursor"]
    client.publish("rooms/payload/t", payload)
    answer = sluice.get("/poll", params={"channel": "rooms/payload/t", "cursor": cursor, "wait": 10})
    (message,) = answer.json()["messages"]
    if data is not None:
        assert message["data"] == data
    if payload.startswith(b" {"):
        assert payload.decode() in answer.text  # as it is, not encoded again


def test_numbers_and_duplicates_pass_as_they_are(sluice, client):
    text = '{"a":1,"a":2,"n":123456789012345678901234567890,"e":1e400,"z":1.10,"s":"\\ud800"}'
    cursor = sluice.get("/poll?channel=rooms/exact/t&wait=0").headers["Sluice-Cursor"]
    client.publish("rooms/exact/t", text)
    assert text in sluice.get("/poll", params={"channel": "rooms/exact/t", "cursor": cursor, "wait": 10}).text


@pytest.mark.parametrize("channel,good,bad", [
    ("json/c", [(b'{"a":1}', {"a": 1}), (b"5", 5)], [b"ON", b"{", b"\xff"]),
    ("number/c", [(b"5", 5), (b" +5.50 ", 5.5), (b".5", 0.5), (b"007", 7), (b"-0", 0), (b"1e3", 1000)], [b"ON", b"1 2", b"--1", b"."]),
    ("text/c", [(b"5", "5"), (b'{"a":1}', '{"a":1}'), (b"\xff", "\ufffd")], []),
    ("base64/c", [(b"\x00\xff", "AP8="), (b"a", "YQ==")], []),
])
def test_codecs(sluice, client, channel, good, bad):
    for payload, data in good:
        cursor = sluice.get(f"/poll?channel={channel}&wait=0").headers["Sluice-Cursor"]
        for rubbish in bad:
            client.publish(channel, rubbish)
        client.publish(channel, payload)
        body = sluice.get("/poll", params={"channel": channel, "cursor": cursor, "wait": 10}).json()
        assert [m["data"] for m in body["messages"]] == [data]  # rubbish is counted and dropped, never forwarded
    if bad:
        assert sluice.metric("sluice_mqtt_codec_dropped_total") >= len(bad)


RUBBISH = [
    (b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    (b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400), (b"rubbish\r\n\r\n", 400), (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400), (b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413),
    (b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (b"GET /" + b"a" * 20000, 431), (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
]


@pytest.mark.parametrize("bytes,status", RUBBISH, ids=lambda value: repr(value)[:30])
def test_rubbish(sluice, bytes, status):
    answer = exchange(sluice, bytes, shut=False)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    if status >= 400:
        assert b'"code":"' in answer
    assert sluice.get("/healthz").status_code == 200


def test_chunked_body_and_continue(sluice, client):
    answer = requests.post(sluice.http + "/channels/lamps/chunked", data=iter([b"O", b"N", b"!" * 5000]))
    assert answer.json() == {"status": "published"}
    wait_until(lambda: sluice.get("/channels/lamps/chunked").json().get("data") == "ON" + "!" * 5000)
    with socket.create_connection(("127.0.0.1", sluice.port), 10) as one:
        one.sendall(b"POST /channels/lamps/continue HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                    b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        one.sendall(b"ON")
        assert one.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_request_that_never_ends_is_ended(world):
    from conftest import yaml
    gateway = world.sluice(yaml(world.broker().port, extra="web: { request_timeout: 300ms, keepalive: 300ms }\n"))
    assert exchange(gateway, b"", shut=False) == b""
    assert exchange(gateway, b"GET / HT", shut=False).startswith(b"HTTP/1.1 408 ")
    assert exchange(gateway, b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
                    shut=False).startswith(b"HTTP/1.1 408 ")
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert exchange(gateway, whole, shut=False).startswith(b"HTTP/1.1 200 ")  # and then closed as idle


def test_connection_limits(world):
    from conftest import yaml
    gateway = world.sluice(yaml(world.broker().port, extra="limits: { connections: 5 }\n"))
    held = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(5)]
    wait_until(lambda: exchange(gateway, b"").startswith(b"HTTP/1.1 503 "))
    for one in held:
        one.close()
    wait_until(lambda: exchange(gateway, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 "))
    gateway = world.sluice(yaml(world.broker().port, extra="limits: { connections_per_address: 3 }\n"))
    held = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(3)]
    wait_until(lambda: exchange(gateway, b"").startswith(b"HTTP/1.1 429 "))
    for one in held:
        one.close()


def test_channel_limit_forgets_the_oldest_and_says_so(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="limits: { channels: 10 }\n"))
    client = world.mqtt(broker.port)
    client.publish("rooms/first/t", "0")
    wait_until(lambda: gateway.get("/channels/rooms/first/t").status_code == 200)
    cursor = gateway.get("/poll?channel=rooms/first/t&cursor=last").json()["cursor"]
    client.publish("rooms/first/t", "missed")
    for number in range(30):
        client.publish(f"rooms/n{number}/t", str(number))
    wait_until(lambda: gateway.get("/channels/rooms/n29/t").status_code == 200)
    assert len(gateway.get("/channels").json()["channels"]) == 10
    body = gateway.get("/poll", params={"channel": "rooms/first/t", "cursor": cursor}).json()
    assert body["gaps"][0]["channel"] == "rooms/first/t" and body["messages"] == []
