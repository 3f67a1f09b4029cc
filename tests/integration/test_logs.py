"""What the gateway says on standard error: text on a terminal, JSON lines otherwise."""
import datetime
import json
import os
import pty
import re
import socket
import subprocess

import pytest
from conftest import yaml
from harness import BINARY, wait_until
from locked import Doors
from test_faults import never_reading_client
from wsclient import connect

sanitize = pytest.mark.sanitize
TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn |info |debug) [a-z]+: .+")


def lines(gateway):
    """Every line as JSON, its shape checked. The last one may be half written."""
    found = [json.loads(line) for line in gateway.text().split("\n")[:-1]]
    for line in found:
        assert list(line)[:4] == ["time", "level", "part", "message"]
        assert set(line) <= {"time", "level", "part", "message", "session", "address", "suppressed"}
        assert line["level"] in ("error", "warn", "info", "debug") and re.fullmatch("[a-z]+", line["part"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    return found


def said(gateway, words):
    return [line for line in lines(gateway) if words in line["message"]]


@sanitize
def test_json_lines_in_a_file(world):
    broker = world.broker()
    before = datetime.datetime.now(datetime.timezone.utc).timestamp()
    gateway = world.sluice(yaml(broker.port, extra="workers: 2\n"))
    found = lines(gateway)
    assert [line["message"] for line in said(gateway, "listening")] == [f"listening on 127.0.0.1:{gateway.port}, 2 worker(s)"]
    at = datetime.datetime.fromisoformat(found[0]["time"].replace("Z", "+00:00")).timestamp()
    assert before - 1 < at < before + 30
    assert said(gateway, "connected to")[0]["part"] == "mqtt"
    assert not [line for line in found if line["level"] == "debug"]


@sanitize
async def test_a_session_goes_by_the_id_in_welcome(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="log: { level: debug }\nworkers: 2\nlimits: { subscriptions: 2 }\n"))
    secret = "very-secret-payload"
    async with connect(gateway) as ws, connect(gateway) as other:
        await ws.subscribe("rooms/+/t")
        await ws.subscribe("twice/+", id=2)
        await ws.send(type="subscribe", id=3, channel="once/+")
        assert (await ws.until("error"))["code"] == "limit_reached"
        assert (await ws.publish("lamps/1", secret))["type"] == "published"
        await ws.publish("rooms/k/t", secret)
        await ws.send(type="unsubscribe", id=5, channel="rooms/+/t")
    wait_until(lambda: len([l for l in said(gateway, "closed") if l["session"] == ws.welcome["session"]]) == 1)
    mine = [line for line in lines(gateway) if line.get("session") == ws.welcome["session"]]
    assert all(line["part"] == "session" for line in mine)
    assert mine[0]["message"] == "opened over websocket" and mine[0]["address"] == "127.0.0.1"
    told = "\n".join(f'{line["level"]} {line["message"]}' for line in mine)
    for words in ("debug subscribes to 'rooms/+/t'", "debug unsubscribes from 'rooms/+/t'", "warn subscription refused: limits.subscriptions (2)",
                  "debug a publish to 'lamps/1'", "a publish ends: published", "refused: forbidden"):
        assert words in told
    theirs = [line["message"] for line in lines(gateway) if line.get("session") == other.welcome["session"]]
    assert theirs == ["opened over websocket", "closed"]
    assert secret not in gateway.text()
    assert not [line for line in lines(gateway) if line["part"] == "session" and "session" not in line]


@sanitize
async def test_refused_credentials_are_told_without_them(world):
    doors = Doors(world.directory)
    gateway = world.sluice(doors.yaml(world.broker().port))
    bad = doors.token("viewer", key="x" * 64)
    async with connect(gateway) as ws:
        await ws.send(type="hello", id=1, token=bad)
        assert (await ws.until("error"))["code"] == "unauthorized"
    assert gateway.get("/channels/rooms/k/t", headers={"Authorization": "Bearer " + bad}).status_code == 401
    line = wait_until(lambda: said(gateway, "hello was refused"))[0]
    assert line["level"] == "warn" and line["part"] == "session" and line["session"] == ws.welcome["session"]
    assert wait_until(lambda: said(gateway, "was refused:"))[-1]["level"] == "warn"
    assert gateway.metric("sluice_auth_failures_total") == 2
    assert bad.split(".")[2] not in gateway.text()


@sanitize
def test_slow_session_is_named(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'flood/{n}', history: { count: 5 } }\n",
                                extra="limits: { queue: 16KiB, slow_consumer: close }\n"))
    client = world.mqtt(broker.port)
    slow = never_reading_client(gateway, "flood/x")

    def flood():
        for _ in range(20):
            client.publish("flood/x", '"' + "x" * 8000 + '"')
        return said(gateway, "reads too slowly")
    line = wait_until(flood, 60)[0]
    bytes = b"".join(iter(lambda: slow.recv(65536), b""))
    slow.close()
    session = re.search(rb'"session":"([^"]+)"', bytes).group(1).decode()
    assert line["session"] == session and line["level"] == "warn"
    assert wait_until(lambda: said(gateway, "ended: slow_consumer"))[0]["session"] == session


@sanitize
def test_repeats_are_counted_and_payloads_kept_out(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    sent = 0

    def flood():
        nonlocal sent
        for _ in range(20):
            client.publish("json/x", "{not-for-the-log")
            sent += 1
        return [line for line in said(gateway, "dropped a payload") if "suppressed" in line]
    first = wait_until(flood, 30)[0]
    wait_until(lambda: gateway.metric("sluice_mqtt_codec_dropped_total") == sent)
    drops = said(gateway, "dropped a payload")
    assert "suppressed" not in drops[0] and first is not drops[0] and first["suppressed"] >= 1
    assert len(drops) + sum(line.get("suppressed", 0) for line in drops) <= sent
    assert "not-for-the-log" not in gateway.text() and "'json/x'" in drops[0]["message"]


def test_strange_names_stay_one_line(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    client.publish('json/"é\\', "{")
    line = wait_until(lambda: said(gateway, "dropped a payload"))[0]
    assert "'json/\"é\\'" in line["message"]


def test_broken_protocol_is_told_at_debug(world):
    gateway = world.sluice(yaml(world.broker().port, extra="log: { level: debug }\n"))
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as raw:
        raw.sendall(b"NONSENSE\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    line = wait_until(lambda: said(gateway, "broken protocol"))[0]
    assert line["level"] == "debug" and line["address"] == "127.0.0.1" and "answered 400: " in line["message"]


def on_terminal(world, text):
    """Runs the gateway with a terminal for its standard error and returns what it wrote until it was stopped."""
    config = world.directory / "terminal.yaml"
    config.write_text(text)
    mine, theirs = pty.openpty()
    child = subprocess.Popen([BINARY, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    out = b""
    try:
        while True:
            try:
                more = os.read(mine, 4096)
            except OSError:  # EIO: the last one who had it open is gone
                break
            out += more
            if b"connected to" in out and child.poll() is None:
                child.terminate()
        assert child.wait(10) == 0
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(mine)
    return out.decode().replace("\r\n", "\n").splitlines()


def test_text_on_a_terminal(world):
    broker = world.broker()
    found = on_terminal(world, yaml(broker.port))
    assert all(TEXT.fullmatch(line) for line in found)
    assert len([line for line in found if re.search(r"listening on \S+:(\d+), \d+ worker\(s\)", line)]) == 1


def test_format_can_be_said(world):
    broker = world.broker()
    found = on_terminal(world, yaml(broker.port, extra="log: { format: json }\n"))
    assert all(json.loads(line)["message"] for line in found)
    gateway = world.sluice(yaml(broker.port, extra="log: { format: text }\n"))
    assert all(TEXT.fullmatch(line) for line in gateway.text().splitlines())
    gateway.config.write_text(yaml(broker.port, extra="log: { format: json }\n"))
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())
    assert json.loads(gateway.text().splitlines()[-1])["message"].startswith("reloaded")


def test_errors_before_the_log_are_plain(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("broker: { url: mqtt://localhost }\nroutes: [{ topic: a }]\nlog: { format: xml }\n")
    result = subprocess.run([BINARY, "-c", str(file)], capture_output=True, text=True, timeout=10)
    assert result.returncode == 2
    assert result.stderr == f"{file}:3:16: log.format: 'xml' is no value for this (auto, text, json expected)\n"
