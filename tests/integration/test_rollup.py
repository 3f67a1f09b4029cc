"""`history: { rollup: … }` on disk: windows outlive their messages, and a kill tears nothing apart."""
import contextlib
import json
import subprocess
import threading
import time

import pytest
import requests
from conftest import yaml
from durable import Gateway, broker, client, number  # noqa: F401
from harness import BINARY, wait_until
from test_series import FIELDS, check, history, oracle, series, wave

ROUTES = """
  - topic: roll/{name}
    history: { store: disk, count: 20, rollup: { fields: [/t, value], every: [1s, 4s], keep: [1h, 1d] } }
  - topic: none/{name}
    history: { store: disk, count: 0, rollup: { fields: value, every: 1s, keep: 1h } }
  - topic: plain/{name}
    history: { store: disk, count: 20 }
  - topic: deep/{name}
    history: { store: disk, count: 100000, bytes: 64MiB }
"""


class Witness:
    """A client that publishes, and knows of each message when the gateway received it."""

    def __init__(self, client):
        self.client, self.messages, self.sent = client, [], 0

    def watch(self, sluice, channel="roll/a"):
        """From now on every message of the channel is noted."""
        ready = threading.Event()

        def follow():
            with contextlib.suppress(requests.RequestException), \
                 requests.get(f"{sluice.http}/sse", params={"channel": channel, "cursor": sluice.cursor}, stream=True, timeout=60) as answer:
                ready.set()
                for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                    if line.startswith('data: {"channel"'):
                        self.messages.append(json.loads(line[6:]))
        sluice.cursor = sluice.get("/channels").json()["cursor"]
        self.thread = threading.Thread(target=follow)
        self.thread.start()
        assert ready.wait(10)

    def publish(self, values, pause=0.0005, channel="roll/a"):
        for value in values:
            self.client.client.publish(channel, json.dumps({"t": value}), 0)
            self.sent += 1
            threading.Event().wait(pause)

    def has_all(self):
        wait_until(lambda: len(self.messages) >= self.sent, what=f"{self.sent} messages, {len(self.messages)} have come")

    def leave(self):
        """After the gateway has ended."""
        self.thread.join()


def inside(gaps, ts):
    return any(begin <= ts < end for begin, end in gaps)


def check_with_gaps(body, messages, field):
    """Exact where there is no gap; elsewhere no message that is outside of the gaps is missing, and none is made up."""
    windows, _ = oracle(messages, field, body)
    certain, _ = oracle([m for m in messages if not inside(body["gaps"], m["ts"])], field, body)
    got = {t: i for i, t in enumerate(body["t"])}
    assert set(certain) <= set(got) <= set(windows)
    for t, i in got.items():
        assert len(certain.get(t, [])) <= body["count"][i] <= len(windows[t]), (t, body["gaps"])
        assert body["max"][i] <= max(windows[t]) and body["min"][i] >= min(windows[t])
        if not any(begin < t + body["step"] and end > t for begin, end in body["gaps"]):
            assert (body["count"][i], body["min"][i], body["max"][i], body["last"][i]) == (
                len(windows[t]), min(windows[t]), max(windows[t]), windows[t][-1])


@pytest.fixture
def gateway(world, broker):
    it = Gateway(world, broker, routes=ROUTES, extra="workers: 2\n")
    it.start()
    return it


@pytest.mark.sanitize
def test_exact_through_kills_and_a_stop(gateway, client):
    witness, begin = Witness(client), None
    for round in range(4):
        sluice = gateway.now
        witness.watch(sluice)
        witness.publish(wave(600, spikes=[300 + round]))
        witness.has_all()
        begin = begin or witness.messages[0]["ts"]
        for points in (2, 10, 1000):
            body = series(sluice, "roll/a", field="/t", points=points, **{"from": str(begin)})
            check_with_gaps(body, witness.messages, "/t")
            assert body["step"] % 1000 == 0 and max(body["max"]) == 999.5
            if not round:
                check(body, witness.messages, "/t")
                assert all(end <= begin for _, end in body["gaps"])
        if round == 2:
            gateway.restart()
        else:
            # In the middle of it: some of what comes now is neither stored nor rolled up.
            witness.publish(wave(100), pause=0)
            gateway.kill()
        witness.leave()
        witness.sent = len(witness.messages)
    body = series(gateway.now, "roll/a", field="/t", points=1000, **{"from": str(begin)})
    check_with_gaps(body, witness.messages, "/t")
    assert sum(body["count"]) >= 1200 and len([1 for _, end in body["gaps"] if end > begin]) == 4, "each time that it did not run"
    assert series(gateway.now, "roll/a", field="", points=10, **{"from": str(begin)})["skipped"] == sum(body["count"])
    assert gateway.now.metric("sluice_storage_series") == 2


def test_live_goes_on_where_the_rollup_ends(gateway, client):
    sluice = gateway.now
    halt, sent, begun = threading.Event(), [], time.time() * 1000

    def publisher():
        while not halt.is_set():
            client.client.publish("roll/b", str(len(sent)), 0)
            sent.append(1)
            halt.wait(0.002)
    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        for _ in range(12):
            goal = len(sent) + 20
            wait_until(lambda: len(sent) > goal)
            body = series(sluice, "roll/b", field="value", points=4)
            poll = sluice.get("/poll", params={"channel": "roll/b", "cursor": body["cursor"], "wait": 2}).json()
            assert body["gaps"][-1][1] <= begun, "only the time before the gateway's database"
            assert poll["gaps"] == [] and poll["messages"][0]["data"] == sum(body["count"])
    finally:
        halt.set()
        thread.join()


def test_windows_that_are_shorter_than_the_disk_takes_to_answer(gateway, client):
    """What comes while the disk is asked has windows too, up to the cursor."""
    sluice = gateway.now
    halt, bodies = threading.Event(), []

    def publisher():
        while not halt.is_set():
            client.client.publish("deep/a", "1", 0)
            halt.wait(0.001)
    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        wait_until(lambda: history(sluice, "deep/a"))
        for _ in range(40):
            bodies.append(series(sluice, "deep/a", points=10000, **{"from": "-2s"}))
    finally:
        halt.set()
        thread.join()
    messages = history(sluice, "deep/a")
    for body in bodies:
        assert body["step"] == 1
        assert sum(body["count"]) == sum(number(m["cursor"]) <= number(body["cursor"]) and m["ts"] >= body["from"] for m in messages)
        check(body, [m for m in messages if number(m["cursor"]) <= number(body["cursor"])], "")


def test_a_plain_history_on_disk_knows_when_it_was_deaf(gateway, client):
    client.publish("plain/a", "1")
    wait_until(lambda: history(gateway.now, "plain/a"))
    first = history(gateway.now, "plain/a")[0]["ts"]
    sluice = gateway.restart()
    client.publish("plain/a", "2")
    wait_until(lambda: len(history(sluice, "plain/a")) == 2)
    messages = history(sluice, "plain/a")
    body = series(sluice, "plain/a", points=10000, **{"from": str(first - 1)})
    check(body, messages, "")
    deaf = body["gaps"][-1]
    assert messages[0]["ts"] < deaf[0] < deaf[1] <= messages[1]["ts"]


def test_the_bound_of_series(world, broker, client):
    gateway = Gateway(world, broker, routes=ROUTES, storage=", series: 3")
    sluice = gateway.start()
    for name in "abc":
        client.publish(f"none/{name}", "1")
        wait_until(lambda: sluice.metric("sluice_storage_series") == "abc".index(name) + 1)
    client.publish("none/d", "1")
    wait_until(lambda: sluice.metric("sluice_storage_series_refused_total") == 1)
    assert "storage.series (3) reached" in sluice.text()
    body = series(sluice, "none/d", points=4)
    assert body["last"] == [1], "the last value is still there"


MISTAKES = {
    "{ fields: t, every: 1s, keep: 1h }": "rollup.fields[0]: 't' is no JSON pointer (such as /t expected",
    "{ fields: [/t, /t], every: 1s, keep: 1h }": "rollup.fields[1]: it is there already",
    "{ fields: /t, every: 10, keep: 1h }": "rollup.every[0]: it is no length of a window",
    "{ fields: /t, every: 100ms, keep: 1h }": "rollup.every[0]: it is no length of a window",
    "{ fields: /t, every: [1m, 10s], keep: [1h, 1h] }": "rollup.every[1]: it is not longer than the one before it",
    "{ fields: /t, every: [1s, 1m], keep: 1h }": "rollup.keep: it has 1 of 2",
    "{ fields: /t, every: 1h, keep: 1m }": "rollup.keep[0]: it is shorter than the window itself",
    "{ fields: /t, every: 1s, keep: 7d }": "rollup.keep[0]: that would be too many windows",
    "{ fields: /t, every: 1s, keep: 5 years }": "rollup.keep[0]: it is no duration",
    "{ every: 1s, keep: 1h }": "rollup.fields",
}


@pytest.mark.parametrize("rollup", MISTAKES)
def test_mistakes(rollup, tmp_path):
    text = yaml(1883, routes=f"  - {{ topic: a, history: {{ store: disk, rollup: {rollup} }} }}\n", extra=f"storage: {{ path: {tmp_path}/a.db }}\n")
    assert f"routes[0].history.{MISTAKES[rollup]}" in problems(tmp_path, text)


def test_rollups_need_the_disk(tmp_path):
    rollup = "rollup: { fields: /t, every: 1s, keep: 1h }"
    assert "store: disk beside it expected" in problems(tmp_path, yaml(1883, routes=f"  - {{ topic: a, history: {{ {rollup} }} }}\n",
                                                                       extra=f"storage: {{ path: {tmp_path}/a.db }}\n"))
    assert "(storage: expected)" in problems(tmp_path, yaml(1883, routes=f"  - {{ topic: a, history: {{ store: disk, {rollup} }} }}\n"))


def problems(tmp_path, text):
    (tmp_path / "it.yaml").write_text(text)
    answer = subprocess.run([BINARY, "check", str(tmp_path / "it.yaml")], capture_output=True, text=True)
    assert answer.returncode
    return answer.stdout + answer.stderr
