"""History on disk, where the gateway is killed: what a kill takes away is told as a gap."""
import threading

import pytest
from durable import Gateway, arrived, broker, catch_up, client, gateway, history, number, poll
from harness import wait_until


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
