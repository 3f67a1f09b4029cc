"""The other direction: a client that publishes through a gateway, over POST and /ws, and sends requests, and an observer at the
broker. What was answered with `published` must have got there, and every publish and request must be answered.
"""
import asyncio
import json
import threading
import time

import requests
import websockets
from atbroker import AtBroker
from commands import command

ANSWER = 12 # seconds; broker.publish_timeout is 5 s


class Observer(AtBroker):
    """`spans` are its subscriptions: [begin, end, last arrival]."""

    filter = "up/#"

    def __init__(self, port):
        super().__init__(port)
        self.arrived = {} # (channel, n): how often
        self.spans = []
        self.lock = threading.Lock()

    def on_subscribe(self, client, *_):
        with self.lock:
            if client is self.client:
                self.spans.append([time.monotonic(), None, 0])

    def on_disconnect(self, client, *_):
        with self.lock:
            if client is self.client and self.spans and self.spans[-1][1] is None:
                self.spans[-1][1] = time.monotonic()

    def on_message(self, client, _data, message):
        key = (message.topic, json.loads(message.payload)["n"])
        with self.lock:
            self.arrived[key] = self.arrived.get(key, 0) + 1
            if self.spans:
                self.spans[-1][2] = time.monotonic()


class Upward:
    def __init__(self, gateway, observer, findings, counts):
        self.gateway, self.observer, self.findings, self.counts = gateway, observer, findings, counts
        self.channel = f"up/{gateway.name}"
        self.n = 0
        self.published = [] # (n, begin, end): answered with `published`, not judged yet

    def answered(self, n, begin, outcome):
        self.counts[outcome] += 1
        if outcome == "published":
            self.published.append((n, begin, time.monotonic()))

    def unanswered(self, life, how):
        if life == self.gateway.truth.life and self.gateway.running:
            self.findings.add("no answer", f"{self.gateway.name}: {how} n={self.n} was not answered within {ANSWER} s")

    async def run(self):
        while True:
            for way in (self.post, self.ws, self.ask, self.command):
                life = self.gateway.truth.life
                try:
                    await way()
                except (asyncio.TimeoutError, requests.Timeout):
                    self.unanswered(life, way.__name__)
                except (OSError, requests.RequestException, websockets.WebSocketException):
                    self.counts["connection broke"] += 1
                    await asyncio.sleep(0.3)

    async def post(self):
        for _ in range(5):
            self.n += 1
            begin = time.monotonic()
            answer = await asyncio.to_thread(requests.post, f"http://127.0.0.1:{self.gateway.port}/channels/{self.channel}",
                                             json.dumps({"n": self.n}), timeout=ANSWER)
            try:
                body = answer.json() if answer.content else {}
            except ValueError:
                body = {}
            self.answered(self.n, begin, body.get("status") or body.get("code") or str(answer.status_code))
            await asyncio.sleep(0.1)

    async def ws(self):
        async with websockets.connect(f"ws://127.0.0.1:{self.gateway.port}/ws", open_timeout=ANSWER, ping_interval=None,
                                      close_timeout=1) as socket:
            for _ in range(5):
                begin, waiting = time.monotonic(), set()
                for _ in range(3):
                    self.n += 1
                    waiting.add(self.n)
                    await socket.send(json.dumps({"type": "publish", "id": self.n, "channel": self.channel, "data": {"n": self.n}}))
                while waiting:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), begin + ANSWER - time.monotonic()))
                    if frame["type"] not in ("published", "error"):
                        continue
                    if frame.get("id") not in waiting:
                        self.findings.add("answered twice", f"{self.gateway.name}: {frame}")
                        continue
                    waiting.discard(frame["id"])
                    self.answered(frame["id"], begin, frame.get("code") or "published")
                await asyncio.sleep(0.1)

    async def command(self):
        await command(self)

    async def ask(self):
        """Requests, which responder.py answers with what was asked. Any answer will do but somebody else's."""
        async with websockets.connect(f"ws://127.0.0.1:{self.gateway.port}/ws", open_timeout=ANSWER, ping_interval=None,
                                      close_timeout=1) as socket:
            for _ in range(5):
                self.n += 1
                begin = time.monotonic()
                await socket.send(json.dumps({"type": "request", "id": self.n, "channel": f"ask/{self.gateway.name}",
                                              "data": {"n": self.n}, "timeout": 2000}))
                while True:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), begin + ANSWER - time.monotonic()))
                    if frame["type"] in ("response", "error"):
                        break
                self.response(frame)
                await asyncio.sleep(0.1)

    def response(self, frame):
        if frame.get("id") != self.n:
            self.findings.add("answered twice", f"{self.gateway.name}: {frame} instead of n={self.n}")
        elif frame["type"] == "error":
            self.counts["request: " + frame["code"]] += 1
        elif frame["data"] != {"n": self.n}:
            self.findings.add("wrong answer", f"{self.gateway.name}: {frame} for n={self.n}")
        else:
            self.counts["request: response"] += 1

    def judge_requests(self):
        """At the end: in calm moments at least they are answered."""
        if not self.counts["request: response"]:
            self.findings.add("no answer", f"{self.gateway.name}: not one request got a response")

    def judge(self):
        """In a calm moment. The broker keeps the order, so it counts that something later has arrived at the observer on the
        same subscription, or that there is still the same one long after."""
        now, rest = time.monotonic(), []
        with self.observer.lock:
            spans, arrived = [list(span) for span in self.observer.spans], self.observer.arrived
            for n, begin, end in self.published:
                if arrived.pop((self.channel, n), 0):
                    self.counts["arrived"] += 1
                elif any(first < begin and (last > end + 1 or (over is None and now > end + 20)) for first, over, last in spans):
                    self.findings.add("publish lost", f"{self.gateway.name}: {self.channel} n={n} was answered with `published` "
                                      "and did not arrive at the broker's subscriber")
                elif now < end + 20:
                    rest.append((n, begin, end))
                else:
                    self.counts["broker gone"] += 1
            self.observer.spans = self.observer.spans[-50:]
        self.published = rest
