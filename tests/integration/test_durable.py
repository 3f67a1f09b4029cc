"""History on disk: real restarts and real kills, with a real broker that stays."""
import asyncio
import json
import os
import resource
import signal
import sqlite3
import subprocess
import threading

import pytest
import requests
from conftest import yaml
from harness import BINARY, wait_until
from wsclient import connect

ROUTES = """
  - topic: disk/{name}
    history: { store: disk, count: 20000, bytes: 64MiB }
  - topic: short/{name}
    history: { store: disk, count: 10 }
  - topic: none/{name}
    history: { store: disk, count: 0 }
  - topic: memory/{name}
    history: { count: 20000, bytes: 64MiB }
  - topic: paced/{name}
    history: { store: disk }
    rate: { policy: latest, interval: 50ms }
  - topic: change/{name}
    history: { store: disk }
    rate: { policy: on_change, pointer: /t, deadband: 0.5 }
"""


class Gateway:
    """One gateway after the other on the same database."""

    def __init__(self, world, broker, routes=ROUTES, flush="50ms", extra="", broker_extra="", storage=""):
        self.world, self.broker = world, broker
        self.path = world.directory / "history.db"
        self.text = yaml(broker.port, routes=routes, broker=broker_extra,
                         extra=f"storage: {{ path: {self.path}, flush: {flush}{storage} }}\n{extra}")
        self.now = None

    def start(self, **kwargs):
        self.now = self.world.sluice(self.text, **kwargs)
        return self.now

    def restart(self):
        if self.now:
            self.now.stop()
        return self.start()

    def kill(self):
        self.now.signal(signal.SIGKILL)
        self.now.wait()
        return self.start()


@pytest.fixture
def broker(world):
    return world.broker(config="allow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0")


@pytest.fixture
def gateway(world, broker):
    it = Gateway(world, broker)
    it.start()
    return it


@pytest.fixture
def client(world, broker):
    return world.mqtt(broker.port)


def world_files(gateway):
    return sorted(gateway.path.parent.glob("history.db*"))


def number(cursor):
    return int(cursor.split(".")[1])


def poll(sluice, cursor, *channels, wait=0):
    answer = sluice.get("/poll", params=[("channel", c) for c in channels] + [("cursor", cursor), ("wait", str(wait))])
    if answer.status_code == 204:
        return {"cursor": answer.headers["Sluice-Cursor"], "messages": [], "gaps": []}
    assert answer.status_code == 200, answer.text
    return answer.json()


def catch_up(sluice, cursor, *channels):
    """Polls until there is nothing more."""
    messages, gaps = [], []
    while True:
        answer = poll(sluice, cursor, *channels)
        messages += answer["messages"]
        gaps += answer["gaps"]
        cursor = answer["cursor"]
        if not answer["messages"] and not answer["gaps"]:
            return messages, gaps, cursor


def arrived(sluice, channel, data):
    wait_until(lambda: sluice.get(f"/channels/{channel}").json().get("data") == data, what=f"{data} on {channel}")


def history(sluice, channel, **params):
    return sluice.get(f"/channels/{channel}/history", params=params).json()


def sse(sluice, cursor, channel, until):
    """Events of a stream until one has that data."""
    events = []
    with requests.get(f"{sluice.http}/sse?channel={channel}", headers={"Last-Event-ID": cursor}, stream=True, timeout=10) as answer:
        event = {}
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith(("event:", "data:", "id:")):
                key, value = line.split(": ", 1)
                event[key] = value
            elif not line and event:
                if "data" in event:
                    events.append((event.get("event", "message"), json.loads(event["data"])))
                    if events[-1][1].get("data") == until:
                        return events
                event = {}
    raise AssertionError("the stream ended")


# --- stopping in order ---------------------------------------------------------------------------------------------------

@pytest.mark.sanitize
async def test_cursors_charts_and_last_values_survive_a_restart(gateway, client):
    sluice = gateway.now
    async with connect(sluice) as ws:
        start = ws.welcome["cursor"]
    for i in range(50):
        client.publish(f"disk/{i % 2}", str(i))
    client.publish("none/x", "kept as the last value only")
    client.publish("disk/binary", b"\xff\x00")
    client.publish("disk/gone", "1")
    client.publish("disk/gone", "")
    arrived(sluice, "disk/binary", {"base64": "/wA="})
    wait_until(lambda: sluice.get("/channels/disk/gone").status_code == 404, what="the value to be cleared")
    before = {c: history(sluice, c)["messages"] for c in ("disk/0", "disk/1", "disk/binary", "disk/gone")}
    listing = [{k: v for k, v in c.items() if k != "age"} for c in sluice.get("/channels").json()["channels"]]
    middle = before["disk/0"][9]["cursor"]
    _, _, end = catch_up(sluice, start, "#")

    assert [oct(p.stat().st_mode & 0o777) for p in world_files(gateway)] == ["0o600", "0o600"] # payloads may be private
    sluice = gateway.restart()
    assert "0 message(s)" not in sluice.text() and "not stopped in order" not in sluice.text()
    assert {c: history(sluice, c)["messages"] for c in before} == before
    assert [{k: v for k, v in c.items() if k != "age"} for c in sluice.get("/channels").json()["channels"]] == listing
    assert sluice.get("/channels/none/x").json()["data"] == "kept as the last value only"
    assert sluice.get("/channels/disk/gone").status_code == 404
    # Where one stood on is nothing new, and it is no gap.
    assert catch_up(sluice, end, "#")[:2] == ([], [])
    # From the middle, on every transport, the same and no gap.
    wanted = [m for m in before["disk/0"] if number(m["cursor"]) > number(middle)]
    messages, gaps, _ = catch_up(sluice, middle, "disk/0")
    assert messages == wanted and not gaps
    events = sse(sluice, middle, "disk/0", wanted[-1]["data"])
    assert events == [("message", m) for m in wanted]
    async with connect(sluice) as ws:
        assert number(ws.welcome["cursor"]) >= number(end)
        answer = await ws.subscribe("disk/0", cursor=middle)
        assert answer["recovered"] is True
        assert [await ws.until("message") for _ in wanted] == [{"type": "message", **m} for m in wanted]
        await ws.quiet()
        # A wildcard over channels on the disk alone is complete as well.
        await ws.subscribe("disk/+", cursor=start, id=2)
        both = sorted((m for c in before for m in before[c]), key=lambda m: number(m["cursor"]))
        rest = [m for m in both if m not in wanted]
        assert [(await ws.until("message"))["cursor"] for _ in rest] == [m["cursor"] for m in rest]
        await ws.quiet()
    # The raw payload is what came.
    import websockets
    async with websockets.connect(f"{sluice.ws}/channels/disk/binary") as raw:
        assert await asyncio.wait_for(raw.recv(), 10) == b"\xff\x00"
    # And numbers go on.
    client.publish("disk/0", '"after"')
    arrived(sluice, "disk/0", "after")
    assert number(sluice.get("/channels/disk/0").json()["cursor"]) == number(end) + 1
    # A second restart, from what was restored.
    sluice = gateway.restart()
    assert history(sluice, "disk/1")["messages"] == before["disk/1"]
    assert history(sluice, "disk/0")["messages"][:-1] == before["disk/0"]


def test_memory_channels_tell_a_gap_after_a_restart(gateway, client):
    for topic in ("memory/a", "memory/b", "disk/a"):
        client.publish(topic, "1")
    arrived(gateway.now, "disk/a", 1)
    start = gateway.now.get("/channels/disk/a").json()["cursor"]
    client.publish("memory/a", "2")
    client.publish("disk/a", "2")
    arrived(gateway.now, "disk/a", 2)
    end = gateway.now.get("/channels/disk/a").json()["cursor"]

    sluice = gateway.restart()
    answer = poll(sluice, start, "memory/a")
    assert [(g["channel"], g["reason"]) for g in answer["gaps"]] == [("memory/a", "history")] and not answer["messages"]
    gap = history(sluice, "memory/a", cursor=start)["gaps"]
    assert [g["channel"] for g in gap] == ["memory/a"]
    # Nothing came on memory/b, or on memory/a after its last message.
    assert poll(sluice, end, "memory/a")["gaps"] == [] and poll(sluice, start, "disk/a")["gaps"] == []
    wild = poll(sluice, start, "+/a")
    assert [g["channel"] for g in wild["gaps"]] == ["memory/a"]
    assert [m["data"] for m in wild["messages"]] == [2]
    # The same when the channel has come back meanwhile.
    client.publish("memory/a", "3")
    arrived(sluice, "memory/a", 3)
    answer = poll(sluice, start, "memory/a")
    assert [g["channel"] for g in answer["gaps"]] == ["memory/a"] and [m["data"] for m in answer["messages"]] == [3]


def test_retained_values_are_not_doubled_by_a_restart(gateway, client):
    client.publish("disk/r", "7", retain=True)
    client.publish("change/r", '{"t":20}', retain=True)
    arrived(gateway.now, "change/r", {"t": 20})
    cursor = gateway.now.get("/channels/change/r").json()["cursor"]
    sluice = gateway.restart()
    client.publish("change/r", '{"t":20.4}')  # within the deadband of what was restored
    client.publish("disk/other", "1")
    arrived(sluice, "disk/other", 1)
    messages, gaps, _ = catch_up(sluice, cursor, "#")
    assert [m["channel"] for m in messages] == ["disk/other"] and not gaps
    assert sluice.get("/channels/change/r").json()["data"] == {"t": 20}


@pytest.mark.sanitize
def test_nothing_is_lost_by_stopping_in_order_under_load(world, broker, client):
    """With a session at the broker: every message exactly once, without one gap, over several restarts."""
    gateway = Gateway(world, broker, broker_extra="  client_id: durable\n  session_expiry: 1h\n", flush="1s")
    sluice = gateway.start()
    cursor = poll(sluice, "last", "disk/+")["cursor"]
    total, sent, halt = 6000, [0], threading.Event()

    def publisher():
        for i in range(total):
            client.client.publish(f"disk/{i % 3}", str(i), 1)
            sent[0] = i + 1
            if i % 20 == 0:
                halt.wait(0.01)

    thread = threading.Thread(target=publisher)
    thread.start()
    got, gaps = [], []
    for stop_at in (1500, 3000, 4500):
        wait_until(lambda: sent[0] > stop_at, 30, "the publisher")
        answer = poll(sluice, cursor, "disk/+")
        got += answer["messages"]
        gaps += answer["gaps"]
        cursor = answer["cursor"]
        sluice = gateway.restart()
    thread.join()
    while len(got) < total:
        answer = poll(sluice, cursor, "disk/+", wait=5)
        assert answer["messages"], f"{len(got)} of {total} came"
        got += answer["messages"]
        gaps += answer["gaps"]
        cursor = answer["cursor"]
    assert gaps == []
    assert [m["data"] for m in got] == list(range(total))
    numbers = [number(m["cursor"]) for m in got]
    assert numbers == sorted(set(numbers))


# --- kills ---------------------------------------------------------------------------------------------------------------

class Oracle:
    """A client that resumes over kills, and what must be true of all that it got."""

    def __init__(self, *channels):
        self.channels, self.cursor, self.got, self.gaps = channels, None, [], []

    def take(self, sluice, wait=0):
        answer = poll(sluice, self.cursor or "last", *self.channels, wait=wait)
        self.got += answer["messages"]
        self.gaps += answer["gaps"]
        self.cursor = answer["cursor"]
        return answer

    def drain(self, sluice):
        while True:
            answer = self.take(sluice)
            if not answer["messages"] and not answer["gaps"]:
                return

    def check(self, published, first=0):
        """`published`: for each channel the highest n that was sent, from 0. Returns how many are missing."""
        missing = 0
        cursors = [m["cursor"] for m in self.got]
        assert len(set(cursors)) == len(cursors), "a cursor came twice"
        assert [number(c) for c in cursors] == sorted(number(c) for c in cursors)
        for channel, top in published.items():
            mine = [(m["data"], number(m["cursor"])) for m in self.got if m["channel"] == channel]
            gaps = [(number(g["from"]), number(g["to"])) for g in self.gaps if g["channel"] in (channel, *self.channels)]
            values = [n for n, _ in mine]
            assert values == sorted(set(values)), f"{channel}: something came twice or out of order"
            edges = [(first - 1, -1), *mine, (top + 1, 1 << 63)]
            for (a, at), (b, to) in zip(edges, edges[1:]):
                if b - a > 1:
                    missing += b - a - 1
                    assert any(end > at and begin < to for begin, end in gaps), f"{channel}: {a + 1}..{b - 1} are missing silently"
        return missing


@pytest.mark.sanitize
@pytest.mark.parametrize("workers", [1, 2])
def test_kills_under_load_lose_nothing_silently(world, broker, client, workers):
    gateway = Gateway(world, broker, flush="100ms", extra=f"workers: {workers}\n")
    sluice = gateway.start()
    exact, wild, late = Oracle("disk/0", "disk/1", "memory/0"), Oracle("#"), Oracle("disk/0")
    for oracle in (exact, wild, late):
        oracle.take(sluice)
    sent, halt = {"disk/0": -1, "disk/1": -1, "memory/0": -1}, threading.Event()

    def publisher():
        i = 0
        while not halt.is_set():
            for topic in sent:
                client.client.publish(topic, str(i), 0)
                sent[topic] = i
            i += 1
            if i % 10 == 0:
                halt.wait(0.005)

    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        for _ in range(6):
            goal = sent["disk/0"] + 500
            while sent["disk/0"] < goal:
                exact.take(sluice, wait=1)
                wild.take(sluice, wait=1)
            sluice = gateway.kill()
            assert "not stopped in order" in sluice.text()
    finally:
        halt.set()
        thread.join()
    client.publish("disk/0", str(sent["disk/0"] + 1))
    sent["disk/0"] += 1
    arrived(sluice, "disk/0", sent["disk/0"])
    for oracle in (exact, wild, late):
        oracle.drain(sluice)
    assert sum(sent.values()) > 6000
    missing = [exact.check(sent), wild.check(sent), late.check({"disk/0": sent["disk/0"]})]
    print(f"sent {sum(sent.values())}, missing with a gap: {missing}")
    # The one that only looked at the end has much of what was stored: the journal is worth something. How much a
    # kill takes away depends on the machine's speed.
    assert len(late.got) > sent["disk/0"] / 10
    # Even where everything was seen: no number is given twice, in one epoch.
    assert len({m["cursor"].split(".")[0] for m in exact.got + wild.got}) == 1
    by_cursor = {}
    for m in exact.got + wild.got + late.got:
        assert by_cursor.setdefault(m["cursor"], m) == m


def test_a_kill_loses_no_more_than_was_not_flushed(gateway, client):
    sluice = gateway.now
    start = poll(sluice, "last", "disk/a")["cursor"]
    for i in range(200):
        client.publish("disk/a", str(i))
    wait_until(lambda: sluice.metric("sluice_storage_written_total") >= 200, what="the messages on the disk")
    sluice = gateway.kill()
    messages, gaps, cursor = catch_up(sluice, start, "disk/a")
    assert [m["data"] for m in messages] == list(range(200))
    assert [g["reason"] for g in gaps] == ["history"] and number(gaps[0]["to"]) > number(messages[-1]["cursor"])
    assert sluice.get("/channels/disk/a").json()["data"] == 199
    assert len(history(sluice, "disk/a")["messages"]) == 200
    # The chart is still on the disk after what came next, and after another kill.
    client.publish("disk/a", "200")
    wait_until(lambda: sluice.metric("sluice_storage_written_total") >= 1, what="the message on the disk")
    sluice = gateway.kill()
    assert [m["data"] for m in history(sluice, "disk/a")["messages"]] == list(range(201))
    # Told once: who stands after it is not told again of the first kill.
    messages, gaps, end = catch_up(sluice, cursor, "disk/a")
    assert [m["data"] for m in messages] == [200] and len(gaps) == 1
    assert catch_up(sluice, end, "disk/a")[:2] == ([], [])
    # After an orderly stop, too.
    sluice = gateway.restart()
    assert catch_up(sluice, end, "disk/a")[:2] == ([], [])
    assert catch_up(sluice, cursor, "disk/a")[1] != []


def test_a_lost_value_of_a_paced_channel_is_a_gap(world, broker, client):
    gateway = Gateway(world, broker, flush="1h")
    sluice = gateway.start()
    client.publish("paced/a", "1")
    arrived(sluice, "paced/a", 1)
    cursor = poll(sluice, "last", "paced/a")["cursor"]
    sluice = gateway.restart()
    client.publish("paced/a", "2")
    arrived(sluice, "paced/a", 2)
    sluice = gateway.kill()
    assert sluice.get("/channels/paced/a").json()["data"] == 1
    assert [g["reason"] for g in poll(sluice, cursor, "paced/a")["gaps"]] == ["history"]


# --- bounds and failures -------------------------------------------------------------------------------------------------

def test_the_file_is_bounded(world, broker, client):
    gateway = Gateway(world, broker, flush="20ms")
    sluice = gateway.start()
    text = "x" * 1000
    for i in range(20000):
        client.client.publish(f"short/{i % 4}", f'"{i} {text}"', 0)
        if i % 500 == 499:
            wait_until(lambda: sluice.metric("sluice_mqtt_messages_total") >= i - 400, 30, "the gateway to keep up")
    client.publish("short/0", '"end"')
    arrived(sluice, "short/0", "end")
    sluice.stop()
    size = sum(p.stat().st_size for p in world.directory.glob("history.db*"))
    assert size < 6 << 20, size
    base = sqlite3.connect(gateway.path)
    assert base.execute("SELECT count(*) FROM message").fetchone()[0] == 40
    base.close()
    sluice = gateway.start()
    assert len(history(sluice, "short/1")["messages"]) == 10


def test_forgotten_channels_leave_the_disk(world, broker, client):
    gateway = Gateway(world, broker, extra="limits: { channels: 5 }\n")
    sluice = gateway.start()
    start = poll(sluice, "last", "disk/0")["cursor"]
    for i in range(40):
        client.publish(f"disk/{i}", str(i))
    arrived(sluice, "disk/39", 39)
    sluice = gateway.restart()
    assert [c["channel"] for c in sluice.get("/channels").json()["channels"]] == [f"disk/{i}" for i in range(35, 40)]
    assert [g["channel"] for g in poll(sluice, start, "disk/0")["gaps"]] == ["disk/0"]
    sluice.stop()
    base = sqlite3.connect(gateway.path)
    assert base.execute("SELECT count(*) FROM channel").fetchone()[0] == 5
    assert base.execute("SELECT count(*) FROM message").fetchone()[0] == 5
    base.close()


def refused(gateway, status=1):
    child = subprocess.run([BINARY, "-c", str(gateway.now.config)], capture_output=True, text=True, timeout=20)
    assert child.returncode == status, child.stderr
    assert "listening" not in child.stderr
    return child.stderr


def test_a_database_that_cannot_be_used_is_refused(gateway, client):
    client.publish("disk/a", "1")
    for i in range(300):
        client.client.publish("disk/big", json.dumps({"i": i, "text": "y" * 500}), 0)
    client.publish("disk/a", "2")
    arrived(gateway.now, "disk/a", 2)
    # Another gateway has it open.
    assert "another process has it open" in refused(gateway)
    gateway.now.stop()
    whole = gateway.path.read_bytes()

    gateway.path.write_bytes(b"not a database at all, but a text of some length" * 50)
    assert "file is not a database" in refused(gateway)
    gateway.path.write_bytes(whole[:4096] + os.urandom(8192) + whole[12288:])
    assert f"'{gateway.path}'" in refused(gateway)
    gateway.path.write_bytes(whole[:len(whole) // 2])
    assert "storage.path" in refused(gateway)
    gateway.path.unlink()
    other = sqlite3.connect(gateway.path)
    other.execute("CREATE TABLE somebody(elses)")
    other.commit()
    other.close()
    assert "another program" in refused(gateway)
    # None of this changed it, and the good one still is good.
    gateway.path.write_bytes(whole)
    assert len(history(gateway.start(), "disk/big")["messages"]) == 300


def test_check_names_what_is_wrong_with_the_path(world, broker):
    def check(storage):
        file = world.directory / "check.yaml"
        file.write_text(yaml(broker.port, routes=ROUTES, extra=storage))
        child = subprocess.run([BINARY, "check", str(file)], capture_output=True, text=True, timeout=20)
        return child.returncode, child.stderr

    status, text = check("")
    assert status == 2 and "routes[0].history.store: there is no place for it (storage: expected)" in text
    status, text = check("storage: { flush: 1s }\n")
    assert status == 2 and "storage.path: it is missing" in text
    status, text = check("storage: { path: /no/such/folder/history.db }\n")
    assert status == 2 and "storage.path: can't write in '/no/such/folder': No such file or directory" in text
    status, text = check(f"storage: {{ path: {world.directory} }}\n")
    assert status == 2 and "it is no plain file" in text
    assert check(f"storage: {{ path: {world.directory}/history.db }}\n") == (0, "")
    assert not (world.directory / "history.db").exists()
    # A folder that only seems writable (to root) is found out at the start.
    file = world.directory / "proc.yaml"
    file.write_text(yaml(broker.port, routes=ROUTES, extra="storage: { path: /proc/history.db }\n"))
    child = subprocess.run([BINARY, "-c", str(file)], capture_output=True, text=True, timeout=20)
    assert child.returncode in (1, 2) and "storage.path: can't" in child.stderr


@pytest.mark.sanitize
def test_a_full_disk(world, broker, client):
    gateway = Gateway(world, broker, flush="20ms", storage=", queue: 64KiB")
    sluice = gateway.start()
    for i in range(20):
        client.publish("disk/a", str(i))
    wait_until(lambda: sluice.metric("sluice_storage_written_total") >= 20, what="the messages on the disk")
    start = poll(sluice, "last", "disk/a")["cursor"]
    # The file system takes no more: nothing may become longer than it is.
    size = max(p.stat().st_size for p in world.directory.glob("history.db*"))
    resource.prlimit(sluice.child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for i in range(20, 520):
        client.publish("disk/a", json.dumps(f"{i} {'z' * 1000}"), 0)
    client.publish("disk/a", '"still here"')
    arrived(sluice, "disk/a", "still here")  # the gateway goes on
    assert len(catch_up(sluice, start, "disk/a")[0]) == 501
    wait_until(lambda: sluice.metric("sluice_storage_errors_total") > 0, what="a failure")
    wait_until(lambda: sluice.metric("sluice_storage_dropped_total") > 0, what="a full queue")
    assert sluice.metric("sluice_storage_waiting_bytes") <= 64 << 10
    assert "can't write to the disk" in sluice.text()
    # There is room again: it goes on by itself, and says what is missing.
    resource.prlimit(sluice.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    client.publish("disk/a", '"last"')
    wait_until(lambda: sluice.metric("sluice_storage_waiting_bytes") == 0, what="the queue to be written")
    client.publish("disk/a", '"after"')
    arrived(sluice, "disk/a", "after")
    sluice = gateway.restart()
    messages, gaps, _ = catch_up(sluice, start, "disk/a")
    assert messages[-1]["data"] == "after" and len(messages) < 500
    assert [g["reason"] for g in gaps] == ["history"]
    assert [m["data"] for m in history(sluice, "disk/a")["messages"]][:20] == list(range(20))


@pytest.mark.sanitize
def test_reload_moves_a_channel_between_memory_and_disk(gateway, client):
    def store(wanted):
        text = gateway.text.replace("topic: memory/{name}\n    history: {", f"topic: memory/{{name}}\n    history: {{ store: {wanted},")
        gateway.now.config.write_text(text)
        count = gateway.now.text().count("reloaded")
        gateway.now.signal(signal.SIGHUP)
        wait_until(lambda: gateway.now.text().count("reloaded") > count, what="the reload")
        gateway.text = gateway.text if wanted == "memory" else text

    sluice = gateway.now
    for i in range(10):
        client.publish("memory/a", str(i))
    arrived(sluice, "memory/a", 9)
    start = history(sluice, "memory/a")["messages"][0]["cursor"]
    original = gateway.text
    store("disk")
    client.publish("memory/a", "10")
    arrived(sluice, "memory/a", 10)
    assert [m["data"] for m in catch_up(sluice, start, "memory/a")[0]] == list(range(1, 11))
    sluice = gateway.restart()
    messages, gaps, _ = catch_up(sluice, start, "memory/a")
    assert [m["data"] for m in messages] == list(range(1, 11)) and not gaps
    # And back: still there until the next restart, then a gap.
    gateway.text = original
    store("memory")
    client.publish("memory/a", "11")
    arrived(sluice, "memory/a", 11)
    assert [m["data"] for m in catch_up(sluice, start, "memory/a")[0]] == list(range(1, 12))
    assert catch_up(sluice, start, "memory/a")[1] == []
    sluice = gateway.restart()
    assert [g["channel"] for g in catch_up(sluice, start, "memory/a")[1]] == ["memory/a"]


@pytest.mark.sanitize
def test_reload_says_that_another_engine_waits_for_the_next_start(gateway, world, broker):
    """The engine's options are those of the start, however often the file is read again."""
    said = "another engine, or other options of it, take effect at the next start only"

    def reload(sluice, text):
        sluice.config.write_text(text)
        count = sluice.text().count("reloaded")
        sluice.signal(signal.SIGHUP)
        wait_until(lambda: sluice.text().count("reloaded") > count, what="the reload")
        return sluice.text().count(said)

    sluice = gateway.now
    assert reload(sluice, gateway.text) == 0
    assert reload(sluice, gateway.text.replace("flush: 50ms", "flush: 60ms")) == 1
    assert reload(sluice, gateway.text.replace("flush: 50ms", "flush: 60ms")) == 2
    assert reload(sluice, gateway.text + "log: { level: debug }\n") == 2
    bare = yaml(broker.port, routes="\n  - topic: memory/{name}\n")
    assert reload(sluice, bare) == 3
    assert "store: disk is like memory" not in sluice.text()
    other = world.sluice(bare)
    assert reload(other, bare) == 0
    assert reload(other, bare + f"storage: {{ path: {world.directory}/other.db }}\n") == 1
    assert "; until then store: disk is like memory" in other.text()
    assert not (world.directory / "other.db").exists()
