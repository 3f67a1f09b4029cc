"""A gateway with history on disk, stopped and killed and started again, and what clients get of it. Tests import its fixtures."""
import json
import signal

import pytest
import requests
from conftest import yaml
from harness import wait_until

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
