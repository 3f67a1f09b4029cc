"""Clients that hop from node to node with their cursor, and the judge of what they got."""
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import random
import threading
import time
import types
import urllib.parse

import requests
import websockets

from harness import wait_until
from publishers import Publisher, channels

FILTER = "plant/#"
TRANSPORTS = ("ws", "sse", "poll")
CROWD = 100 # clients of a process
KEY = "a client that sees n only"

# What the judge understands. `state` is retained, and cleared by every second message; of `news` every second message says
# nothing new; `split` makes two messages of each payload.
ROUTES = """
  - { topic: "plant/{id}/t", qos: 1, history: { count: 2000 }, publish: true }
  - { topic: "plant/{id}/state", qos: 1, history: { count: 2000 } }
  - { topic: "plant/{id}/news", qos: 1, history: { count: 2000 }, rate: { policy: on_change, pointer: /n } }
  - { topic: "parts/{id}", channel: "plant/{id}/{member}", qos: 1, transform: split, history: { count: 2000 } }
"""
EXTRA = f"""
auth:
  anonymous: [all]
  api_keys: [ {{ name: less, hash: "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", roles: [less] }} ]
roles:
  all: {{ subscribe: "{FILTER}", publish: "{FILTER}" }}
  less: {{ subscribe: "{FILTER}", fields: [n] }}
"""


class Hopper(threading.Thread):
    """One client: connects to a node by a transport, stays a while, and goes on elsewhere with its cursor."""

    def __init__(self, nodes, cursor, seed, stay=(0.3, 3.0), transports=TRANSPORTS, filter=FILTER):
        super().__init__(daemon=True)
        self.filter = filter
        self.headers = {"Authorization": "Bearer " + KEY} if seed % 3 == 2 else {}
        self.nodes, self.cursor, self.stay, self.transports = nodes, cursor, stay, transports
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.last = {}      # channel -> the last n
        self.positions = {} # channel -> the number of that message
        self.unsure = {}    # channels cleared behind a gap: which one it was of several, nobody says -> the last before
        self.repeats = {}   # channels whose messages come once more behind a gap -> the last of those
        self.number = int(cursor.split(".")[1])
        self.faults = []    # what must never be
        self.doubles = []   # channel, n, fault: unless the publisher has sent it twice
        self.equals = []    # values sent twice that came twice: only from a gateway that lost the first, which tells others a gap
        self.missing = {}   # channel -> how many, where no gap has told so
        self.gaps = []
        self.upstream = []
        self.got = self.hops = self.errors = self.again = 0
        self.silence, self.heard = 0.0, None
        self.where = ""

    # --- the judge -------------------------------------------------------------------------------------------------

    def number_of(self, message):
        """Which one it is of its channel."""
        data, channel = message["data"], message["channel"]
        before = self.repeats.get(channel, self.last.get(channel, 0))
        if message.get("cleared"):
            return before + 1 if before % 2 else before + 2
        if set(data) != ({"n"} if self.headers else {"n", "t"}):
            self.faults.append(f"{self.where}: {message['channel']} has {data}")
        return data["n"]

    def told(self, channel):
        """Has a gap been told that ends behind what we had of it?"""
        return any(gap["channel"] in (channel, self.filter) and int(gap["to"].split(".")[1]) > self.positions.get(channel, 0)
                   for gap in self.gaps)

    def message(self, message):
        number, n, channel = int(message["cursor"].split(".")[1]), self.number_of(message), message["channel"]
        told = self.told(channel) or channel in self.unsure
        before = self.unsure.pop(channel, self.last.get(channel, 0))
        if number <= self.number:
            self.faults.append(f"{self.where}: {channel} number {number} after {self.number}")
        if n <= before and (told or channel in self.repeats): # clients of a dead leader had it, nobody else, and the broker sends it again
            self.repeats[channel] = n
            self.again += 1
        elif n == before and channel.endswith("/news"): # each is sent twice, and is the same to a gateway that has the first one
            self.equals.append(f"{self.where}: {channel} n {n} after {before}")
        elif n <= before:
            self.doubles.append((channel, n, f"{self.where}: {channel} n {n} after {before}"))
        else:
            self.repeats.pop(channel, None)
        if n > before + 1:
            if not told:
                self.faults.append(f"{self.where}: {channel} n {n} after {before}, no gap")
            self.missing[channel] = self.missing.get(channel, 0) + n - before - 1
        if message.get("cleared") and told:
            self.unsure[channel] = before
        self.last[channel] = max(n, before)
        self.positions[channel] = number
        self.number = max(number, self.number)
        self.cursor = message["cursor"]
        self.got += 1
        now = time.monotonic()
        if self.heard:
            self.silence = max(self.silence, now - self.heard)
        self.heard = now

    def lacks(self, sent):
        """The channels of which it does not have the end; `sent`: channel -> count."""
        return [channel for channel, n in sent.items() if self.filter in (channel, FILTER) and self.last.get(channel) != n
                and not (channel in self.unsure and n % 2 == 0)]

    def frame(self, frame):
        if frame.get("type") == "gap":
            self.gaps.append(frame)
        elif frame.get("type") == "upstream":
            self.upstream.append(frame)
        elif frame.get("type") == "error":
            raise ConnectionError(frame)

    # --- transports ------------------------------------------------------------------------------------------------

    async def ws_hop(self, node, until):
        async with websockets.connect(node.ws + "/ws", max_size=None, extra_headers=self.headers, open_timeout=3, close_timeout=0.2) as socket:
            await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": self.filter, "cursor": self.cursor}))
            while time.monotonic() < until and not self.stopping.is_set():
                try:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), 0.2))
                except asyncio.TimeoutError:
                    continue
                if frame["type"] == "message":
                    self.message(frame)
                else:
                    self.frame(frame)

    def ws(self, node, until):
        asyncio.run(self.ws_hop(node, until))

    def sse(self, node, until):
        url = node.http + "/sse?channel=" + urllib.parse.quote(self.filter, safe="")
        with requests.get(url, headers={"Last-Event-ID": self.cursor, **self.headers}, stream=True, timeout=(3, 1)) as answer:
            if answer.status_code != 200:
                raise ConnectionError(answer.status_code)
            event = "message"
            for line in answer.iter_lines(chunk_size=1):
                if time.monotonic() > until or self.stopping.is_set():
                    return
                if line.startswith(b"event: "):
                    event = line[7:].decode()
                elif line.startswith(b"data: "):
                    data = json.loads(line[6:])
                    if event == "message":
                        self.message(data)
                    else:
                        self.frame(data)
                elif not line:
                    event = "message"

    def poll(self, node, until):
        while time.monotonic() < until and not self.stopping.is_set():
            answer = requests.get(node.http + "/poll", params={"channel": self.filter, "cursor": self.cursor, "wait": "0.3"},
                                  headers=self.headers, timeout=(3, 5))
            if answer.status_code == 200:
                body = answer.json()
                for gap in body["gaps"]:
                    self.frame(gap)
                for message in body["messages"]:
                    self.message(message)
            elif answer.status_code != 204:
                raise ConnectionError(answer.status_code)
            self.cursor = answer.headers["Sluice-Cursor"]

    def run(self):
        while not self.stopping.is_set():
            node, transport = self.random.choice(self.nodes), self.random.choice(self.transports)
            self.where = f"{transport} at {node.node}"
            until = time.monotonic() + self.random.uniform(*self.stay)
            self.hops += 1
            try:
                getattr(self, transport)(node, until)
            except (OSError, asyncio.TimeoutError, requests.RequestException, websockets.WebSocketException, ValueError, KeyError):
                self.errors += 1
                self.stopping.wait(0.1)


def settle(hoppers, sent, again, timeout):
    """Waits until every client has everything that was sent, stops them, and returns what they came to.
    `again`: what the publishers may have sent twice."""
    with contextlib.suppress(AssertionError): # what is missing at the end is a fault of its client
        wait_until(lambda: not any(hopper.lacks(sent) for hopper in hoppers), timeout)
    for hopper in hoppers:
        hopper.stopping.set()
    for hopper in hoppers:
        hopper.join(10)
    faults = [fault for hopper in hoppers for fault in hopper.faults]
    faults += [fault for hopper in hoppers for channel, n, fault in hopper.doubles if (channel, n) not in again]
    if not any(hopper.gaps for hopper in hoppers):
        faults += [fault for hopper in hoppers for fault in hopper.equals]
    for hopper in hoppers:
        faults += [f"{hopper.where}: {channel} ends at {hopper.last.get(channel)} of {sent[channel]}" for channel in hopper.lacks(sent)]
    return {
        "received": sum(hopper.got for hopper in hoppers),
        "clients": len(hoppers),
        "hops": sum(hopper.hops for hopper in hoppers),
        "errors": sum(hopper.errors for hopper in hoppers),
        "gaps": sum(len(hopper.gaps) for hopper in hoppers),
        "missing": sum(sum(hopper.missing.values()) for hopper in hoppers),
        "again": sum(hopper.again for hopper in hoppers),
        "upstream": sum(len(hopper.upstream) for hopper in hoppers),
        "silence": max((hopper.silence for hopper in hoppers), default=0),
        "faults": faults,
    }


def crowd_run(pipe, doors, cursor, seeds, stay, filters):
    hoppers = [Hopper(doors, cursor, seed, stay, filter=filters[seed % len(filters)]) for seed in seeds]
    for hopper in hoppers:
        hopper.start()
    pipe.send(settle(hoppers, *pipe.recv()))


class Crowd:
    """Clients in a process of their own: a hundred of them would keep the faults' own threads from running."""

    def __init__(self, doors, *args):
        self.pipe, other = multiprocessing.get_context("spawn").Pipe()
        doors = [types.SimpleNamespace(http=door.http, ws=door.ws, node=door.node) for door in doors]
        self.process = multiprocessing.get_context("spawn").Process(target=crowd_run, args=(other, doors, *args), daemon=True)
        self.process.start()

    def ask(self, sent, again, timeout):
        self.pipe.send((sent, again, timeout))

    def report(self, timeout):
        assert self.pipe.poll(timeout + 60), "no report from a process of clients"
        report = self.pipe.recv()
        self.process.join(10)
        return report


class Field:
    """Everything together: publishers, hoppers, and the verdict."""

    def __init__(self, broker, nodes, clients=6, publishers=2, topics=10, rate=300, stay=(0.3, 3.0), doors=None, filters=(FILTER,)):
        """`doors`: where clients connect to, by default the nodes; `filters`: of the clients in turn."""
        answer = nodes[0].get("/poll?channel=" + urllib.parse.quote(FILTER, safe="") + "&wait=0")
        cursor = answer.headers["Sluice-Cursor"]
        beside = [range(at, min(at + CROWD, clients)) for at in range(0, clients, CROWD)] if clients > CROWD else []
        self.crowds = [Crowd(doors or nodes, cursor, seeds, stay, filters) for seeds in beside]
        self.hoppers = [Hopper(doors or nodes, cursor, seed, stay, filter=filters[seed % len(filters)])
                        for seed in range(0 if beside else clients)]
        for hopper in self.hoppers:
            hopper.start()
        self.nodes = nodes
        self.publishers = [Publisher(broker, f"publisher-{i}", self.topics(i, topics), rate / publishers) for i in range(publishers)]

    @contextlib.contextmanager
    def at_rest(self):
        """Nothing is published, and the broker has acknowledged everything."""
        for publisher in self.publishers:
            publisher.resting.set()
        try:
            wait_until(lambda: not any(publisher.under_way for publisher in self.publishers), 30, "the broker to acknowledge everything")
            yield
        finally:
            for publisher in self.publishers:
                publisher.resting.clear()

    @staticmethod
    def topics(i, count):
        """Most are plain ones."""
        kinds = ["plant/{}/state", "plant/{}/news", "parts/{}"] + ["plant/{}/t"] * 3
        return [kinds[j % len(kinds)].format(f"{i}-{j}") for j in range(count)]

    def last_values(self, sent):
        """They must be the same at every node, and what was sent last; returns what is wrong."""
        wrong = []
        for channel, n in sent.items():
            answers = [node.get(f"/channels/{channel}") for node in self.nodes if node.child.poll() is None]
            if len({answer.text for answer in answers}) > 1:
                wrong.append(f"{channel} differs: {[answer.text for answer in answers]}")
            cleared = channel.endswith("/state") and n % 2 == 0
            if answers[0].status_code != (404 if cleared else 200):
                wrong.append(f"{channel} after {n}: {answers[0].status_code}")
        return wrong

    def finish(self, timeout=30):
        """Stops the publishers, waits until every client has everything, and returns what it came to."""
        sent, again = {}, set()
        for publisher in self.publishers:
            sent.update(publisher.stop())
            again |= publisher.sent_again
        for crowd in self.crowds:
            crowd.ask(sent, again, timeout)
        reports = [settle(self.hoppers, sent, again, timeout)] + [crowd.report(timeout) for crowd in self.crowds]
        report = {name: (max if name == "silence" else sum)(one[name] for one in reports) for name in reports[0] if name != "faults"}
        report["sent"] = sum(sent.values())
        report["faults"] = [fault for one in reports for fault in one["faults"]] + self.last_values(sent)
        return report
