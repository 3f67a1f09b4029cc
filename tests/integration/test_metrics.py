"""/metrics as Prometheus sees it: its own tools and parsers read it, the numbers are those of what happened."""
import asyncio
import pathlib
import re
import subprocess
import threading

import pytest
import requests
import websockets
from conftest import yaml
from harness import BINARY, ROOT, descriptors, wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from test_faults import never_reading_client
from wsclient import connect

OPENMETRICS = "application/openmetrics-text"
PROMETHEUS = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")

sanitize = pytest.mark.sanitize


def samples(sluice, accept="text/plain"):
    """{(name, labels): value}, by a parser that we did not write. Labels as sorted pairs."""
    answer = sluice.get("/metrics", headers={"Accept": accept})
    parse = parse_openmetrics if OPENMETRICS in answer.headers["Content-Type"] else parse_text
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse(answer.text) for sample in family.samples}


def value(sluice, name, **labels):
    return samples(sluice)[name, tuple(sorted(labels.items()))]


def check(*args, stdin=None):
    result = subprocess.run(["promtool", *args], input=stdin, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout + result.stderr


# --- the format ---------------------------------------------------------------------------------------------------------

@sanitize
async def test_promtool_and_parsers_agree(sluice, client):
    """Nothing to complain of for Prometheus' linter; both formats hold the same samples."""
    async with connect(sluice) as ws:
        await ws.subscribe("rooms/#")
        client.publish("rooms/metrics/t", "1")
        await ws.until("message")
        await ws.publish("lamps/1", 1)
        dropped = sluice.metric("sluice_mqtt_codec_dropped_total")
        client.publish("json/broken", "{")
        wait_until(lambda: sluice.metric("sluice_mqtt_codec_dropped_total") == dropped + 1)
        text = sluice.get("/metrics")
        assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert check("check", "metrics", stdin=text.text) == (0, "")
        old, new = samples(sluice), samples(sluice, OPENMETRICS)
        assert set(old) == set(new) and len(old) > 100
        changing = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
                    "process_open_fds", "sluice_requests_total", "sluice_sent_bytes_total", "sluice_received_bytes_total"}
        assert {k: v for k, v in old.items() if k[0] not in changing} == {k: v for k, v in new.items() if k[0] not in changing}


def test_promtool_would_complain():
    """The check above can fail."""
    status, said = check("check", "metrics", stdin="# TYPE sluice_things counter\nsluice_things 1\n")
    assert status and "_total" in said


@pytest.mark.parametrize("accept, openmetrics", [
    (None, False), ("*/*", False), ("text/plain", False), ("text/html,*/*;q=0.8", False), (PROMETHEUS, True),
    (OPENMETRICS, True), (OPENMETRICS + ";q=0.1,text/plain;q=0.9", False), ("application/json", False)])
def test_content_negotiation(sluice, accept, openmetrics):
    answer = sluice.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200 and answer.headers["Vary"] == "Accept"
    assert answer.headers["Content-Type"] == ("application/openmetrics-text; version=1.0.0; charset=utf-8" if openmetrics
                                              else "text/plain; version=0.0.4; charset=utf-8")
    assert answer.text.endswith("# EOF\n") == openmetrics
    assert requests.head(sluice.http + "/metrics", timeout=10).status_code == 200


# --- the numbers --------------------------------------------------------------------------------------------------------

@sanitize
async def test_sessions_by_transport(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="workers: 2\n"))

    def now(transport):
        return value(gateway, "sluice_transport_sessions", transport=transport)
    assert [now(t) for t in ("websocket", "raw", "sse", "longpoll")] == [0, 0, 0, 0]
    async with connect(gateway), connect(gateway), websockets.connect(gateway.ws + "/channels/lamps/1"):
        with requests.get(gateway.http + "/sse?channel=lamps/1", stream=True, timeout=20) as stream:
            next(body := stream.iter_content(1))
            poll = threading.Thread(target=gateway.get, args=("/poll?channel=lamps/1&wait=20",))
            poll.start()
            wait_until(lambda: now("longpoll") == 1)
            assert [now(t) for t in ("websocket", "raw", "sse")] == [2, 1, 1]
            assert gateway.metric("sluice_sessions") == 5
            assert gateway.post("/channels/lamps/1", "x").status_code == 200
            await asyncio.to_thread(poll.join, 20)
            assert not poll.is_alive()
    wait_until(lambda: gateway.metric("sluice_sessions") == 0)
    assert [now(t) for t in ("websocket", "raw", "sse", "longpoll", "post")] == [0, 0, 0, 0, 0]
    opened = [value(gateway, "sluice_transport_sessions_opened_total", transport=t)
              for t in ("websocket", "raw", "sse", "longpoll", "post")]
    assert opened == [2, 1, 1, 1, 1]


@sanitize
async def test_publishes_by_outcome(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, broker="  request_timeout: 300ms\n"))
    quiet = world.mqtt(broker.port, subscribe=["lamps/quiet"])

    def outcomes():
        return {dict(labels)["outcome"]: int(v) for (name, labels), v in samples(gateway).items()
                if name == "sluice_publish_outcomes_total" and v}
    assert outcomes() == {}
    async with connect(gateway) as ws:
        assert (await ws.publish("lamps/1", 1))["type"] == "published"
        assert (await ws.publish("once/1", 1))["type"] == "accepted"
        assert (await ws.publish("rooms/k/t", 1))["code"] == "forbidden"
        assert (await ws.publish("nowhere", 1))["code"] == "unknown_channel"
        assert (await ws.publish("lamps/+", 1))["code"] == "bad_request"
        assert (await ws.publish("number/1", "one"))["code"] == "bad_request"
        await ws.send(type="request", id=1, channel="devices/nobody", data=1)
        assert (await ws.recv())["code"] == "no_responder"
        await ws.send(type="request", id=2, channel="lamps/quiet", data=1)
        assert (await ws.recv())["code"] == "timeout"
        assert quiet.payloads("lamps/quiet")
        assert gateway.post("/channels/twice/1", "x").status_code == 200
        expected = {"published": 2, "accepted": 1, "forbidden": 1, "unknown_channel": 1, "bad_request": 2, "no_responder": 1,
                    "timeout": 1}
        assert outcomes() == expected
        assert gateway.metric("sluice_publishes_total") == 3 and gateway.metric("sluice_publish_errors_total") == 6
        broker.freeze()
        await ws.send(type="publish", id=9, channel="lamps/1", data=1)
        await ws.send(type="ping", id=10)
        assert (await ws.recv())["type"] == "pong"
    wait_until(lambda: outcomes() == dict(expected, abandoned=1))
    broker.thaw()
    wait_until(lambda: gateway.metric("sluice_publish_late_total") == 1)
    broker.kill()
    wait_until(lambda: gateway.metric("sluice_mqtt_up") == 0)
    assert gateway.post("/channels/lamps/1", "x").status_code == 503
    assert outcomes() == dict(expected, abandoned=1, upstream_down=1)


async def test_requests_that_are_answered(world):
    from test_request import Device
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'lamps/{id}', publish: { topic: 'lamps/{id}/set' } }\n"))
    device = Device(broker.port)
    try:
        answer = gateway.post("/channels/lamps/1?reply=5s", '{"a":1}')
        assert answer.status_code == 200 and answer.json()["status"] == "response"
    finally:
        device.close()
    assert value(gateway, "sluice_publish_outcomes_total", outcome="answered") == 1
    assert value(gateway, "sluice_publish_outcomes_total", outcome="published") == 0
    assert gateway.metric("sluice_responses_total") == 1


def test_gaps_by_reason(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    client.publish("short/a", "0")
    cursor = gateway.get("/poll?channel=short/a&cursor=last").json()["cursor"]
    for number in range(20):
        client.publish("short/a", str(number))
    wait_until(lambda: gateway.get("/channels/short/a").json()["data"] == 19)
    assert gateway.get("/poll", params={"channel": "short/a", "cursor": cursor}).json()["gaps"][0]["reason"] == "history"
    assert gateway.get("/poll?channel=short/a&cursor=other.5").json()["gaps"][0]["reason"] == "epoch"
    assert [value(gateway, "sluice_gap_reasons_total", reason=r) for r in ("history", "epoch", "overflow")] == [1, 1, 0]
    assert gateway.metric("sluice_gaps_total") == 2


@sanitize
async def test_latency_counts_each_message_once(world):
    """Once a message and worker, however many sessions get it; not at all if nobody does, or not at once."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'live/{n}' }\n"
                                "  - { topic: 'slow/{n}', rate: { policy: latest, interval: 1h } }\n"))
    client = world.mqtt(broker.port)
    client.publish("live/nobody", "1")
    wait_until(lambda: gateway.metric("sluice_messages_total") == 1)
    async with connect(gateway) as one, connect(gateway) as two:
        for ws in (one, two):
            await ws.subscribe("live/+")
            assert (await ws.until("message"))["data"] == 1
            await ws.subscribe("slow/+", id=2)
        assert value(gateway, "sluice_delivery_seconds_count") == 0
        for number in range(10):
            client.publish("live/a", str(number))
            assert [(await ws.until("message"))["data"] for ws in (one, two)] == [number, number]
        wait_until(lambda: value(gateway, "sluice_delivery_seconds_count") == 10)
        for number in range(5):  # the first goes at once, the others are held
            client.publish("slow/a", str(number))
        for ws in (one, two):
            assert (await ws.until("message"))["data"] == 0
        wait_until(lambda: gateway.metric("sluice_messages_total") == 16)
        assert value(gateway, "sluice_delivery_seconds_count") == 11
        assert 0 < value(gateway, "sluice_delivery_seconds_sum") < 5


@sanitize
async def test_queue_depths(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'flood/{n}', history: { count: 5 } }\n",
                                extra="limits: { queue: 128KiB }\n"))
    client = world.mqtt(broker.port)
    assert value(gateway, "sluice_queue_limit_bytes") == 128 * 1024 and value(gateway, "sluice_queued_bytes") == 0
    slow = never_reading_client(gateway, "flood/x")
    payload = '"' + "x" * 8000 + '"'

    def flood():
        for _ in range(20):
            client.publish("flood/x", payload)
        return gateway.metric("sluice_overflows_total")
    wait_until(flood, 60, "the queue to fill up")
    wait_until(lambda: value(gateway, "sluice_queued_sessions") == 1)
    largest = value(gateway, "sluice_queued_largest_bytes")
    assert 128 * 1024 <= largest < 128 * 1024 + 10000 and value(gateway, "sluice_queued_bytes") == largest
    slow.close()
    wait_until(lambda: value(gateway, "sluice_queued_bytes") == 0)
    assert value(gateway, "sluice_queued_sessions") == value(gateway, "sluice_queued_largest_bytes") == 0


@sanitize
def test_routes(world):
    """A row for each route as it stands in the file, kept through a reload; never more than 200 and one for the others."""
    broker = world.broker()
    first = "  - { topic: 'a/{n}', channel: 'x/{n}', codec: json }\n  - { topic: '\"quoted\\/#' }\n"
    gateway = world.sluice(yaml(broker.port, routes=first))
    client = world.mqtt(broker.port)
    a = {"route": "a/{n}", "channel": "x/{n}"}
    for payload in ("1", "22", "{broken"):
        client.publish("a/1", payload)
    client.publish('"quoted\\/b', "12345")
    wait_until(lambda: value(gateway, "sluice_route_bytes_total", route='"quoted\\/#', channel='"quoted\\/#') == 5)
    assert value(gateway, "sluice_route_messages_total", **a) == 2
    assert value(gateway, "sluice_route_bytes_total", **a) == 3
    assert value(gateway, "sluice_route_codec_dropped_total", **a) == 1
    assert gateway.metric("sluice_mqtt_received_bytes_total") == 3 + 7 + 5

    many = "".join(f"  - {{ topic: 'many/{number}' }}\n" for number in range(300))
    gateway.config.write_text(yaml(broker.port, routes="  - { topic: new/+ }\n" + first.split("\n")[0] + "\n" + many))
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())
    wait_until(lambda: len([1 for name, _ in samples(gateway) if name == "sluice_route_messages_total"]) == 201)
    assert value(gateway, "sluice_route_messages_total", **a) == 2 and value(gateway, "sluice_route_codec_dropped_total", **a) == 1

    def others():
        return value(gateway, "sluice_route_messages_total", route="other", channel="other")
    wait_until(lambda: client.publish("many/299", "1") or others(), what="the broker to know the last subscription")
    client.publish("a/2", "1")
    wait_until(lambda: value(gateway, "sluice_route_messages_total", **a) == 3)
    before = others()
    for topic in ("many/197", "many/198", "many/299"):
        client.publish(topic, "1")
    wait_until(lambda: others() == before + 2)
    assert value(gateway, "sluice_route_messages_total", route="many/197", channel="many/197") == 1
    assert check("check", "metrics", stdin=gateway.get("/metrics").text) == (0, "")


def test_broker_comes_and_goes(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    assert value(gateway, "sluice_mqtt_up") == 1 and value(gateway, "sluice_mqtt_connects_total") == 1
    broker.kill()
    wait_until(lambda: value(gateway, "sluice_mqtt_connect_failures_total") >= 2)
    assert value(gateway, "sluice_mqtt_up") == 0 and value(gateway, "sluice_mqtt_disconnects_total") == 1
    broker.start()
    wait_until(lambda: value(gateway, "sluice_mqtt_up") == 1, 20)
    assert value(gateway, "sluice_mqtt_connects_total") == 2 and value(gateway, "sluice_mqtt_disconnects_total") == 1


async def test_process_and_bounds(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="workers: 2\nlimits: { connections: 500, inbox: 1000 }\n"))
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=10).stdout.split()[1]
    assert value(gateway, "sluice_build_info", version=version) == 1
    assert [value(gateway, f"sluice_{name}") for name in ("workers", "connections_limit", "inbox_limit", "inbox")] == [2, 500, 2000, 0]
    assert 0.5 < value(gateway, "process_resident_memory_bytes") / gateway.rss() < 2
    assert abs(value(gateway, "process_cpu_seconds_total") - gateway.cpu()) < 1
    started = pathlib.Path(f"/proc/{gateway.child.pid}").stat().st_mtime
    assert abs(value(gateway, "process_start_time_seconds") - started) < 30
    real = descriptors(gateway.child.pid)
    assert abs(value(gateway, "process_open_fds") - real) <= 2  # the scrape's own connection
    soft = int(re.search(r"Max open files\s+(\d+)", pathlib.Path(f"/proc/{gateway.child.pid}/limits").read_text()).group(1))
    assert value(gateway, "process_max_fds") == soft
    before = value(gateway, "sluice_received_bytes_total")
    async with connect(gateway) as ws:
        await ws.send(type="ping", id="x" * 1000)
        await ws.recv()
        assert value(gateway, "sluice_received_bytes_total") > before + 1000


def test_documented():
    """docs/operations.md has every metric and no other; that the list is the gateway's is checked in test_monitoring.py."""
    page = (ROOT / "docs/operations.md").read_text()
    documented = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"`((?:sluice|process)_[a-z_]+)", page)}
    source = "".join((ROOT / "gateway" / path).read_text() for path in ("http/metrics.c", "http/process.c", "app/app_metrics.c"))
    assert documented == set(re.findall(r'"((?:sluice|process)_[a-z_]+)"', source))
