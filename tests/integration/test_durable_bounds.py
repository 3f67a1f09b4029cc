"""History on disk: how much it takes, and what happens where the file or the disk cannot be used."""
import json
import os
import resource
import sqlite3
import subprocess

import pytest
from conftest import yaml
from durable import ROUTES, Gateway, arrived, broker, catch_up, client, gateway, history, poll
from harness import BINARY, wait_until


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
