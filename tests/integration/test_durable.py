"""History on disk: real restarts, with a real broker that stays."""
import asyncio
import signal
import threading

import pytest
from conftest import yaml
from durable import Gateway, arrived, broker, catch_up, client, gateway, history, number, poll, sse, world_files
from harness import wait_until
from wsclient import connect


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
