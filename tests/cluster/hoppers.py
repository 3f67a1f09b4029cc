"""Publishers that number what they send, clients that hop from node to node with their cursor, and the judge of what they got."""
import asyncio
import json
import random
import threading
import time
import urllib.parse

import paho.mqtt.client as mqtt
import requests
import websockets

FILTER = "plant/#"
TRANSPORTS = ("ws", "sse", "poll")


class Publisher:
    """Sends 1, 2, 3, ... to each of its topics in turn, at QoS 1; paho sends again what the broker did not acknowledge."""

    def __init__(self, port, name, topics, rate):
        self.topics = {topic: 0 for topic in topics}
        self.rate = rate
        self.stopping = threading.Event()
        self.lost = threading.Event()  # the broker was away: what it did not acknowledge must be there before anything new
        self.newest = None
        self.client = mqtt.Client(client_id=name, clean_session=False, protocol=mqtt.MQTTv311)
        self.client.max_inflight_messages_set(100)
        self.client.max_queued_messages_set(0)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.connect("127.0.0.1", port, 30)
        self.client.loop_start()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        names, sent, begun = list(self.topics), 0, time.monotonic()
        while not self.stopping.is_set():
            if self.lost.is_set() and (not self.client.is_connected() or not (self.newest is None or self.newest.is_published())):
                self.stopping.wait(0.005)  # paho would send new ones between those that it sends again
                continue
            self.lost.clear()
            for _ in range(int((time.monotonic() - begun) * self.rate) - sent):
                topic = names[sent % len(names)]
                self.topics[topic] += 1
                self.newest = self.client.publish(topic, json.dumps({"n": self.topics[topic], "t": time.time()}), 1)
                sent += 1
            self.stopping.wait(0.005)

    def stop(self):
        """Returns what was sent in all once the broker has it: topic -> count."""
        self.stopping.set()
        self.thread.join()
        info = self.client.publish("drained", b"", 1)
        info.wait_for_publish(60)
        self.client.disconnect()
        self.client.loop_stop()
        return self.topics


class Hopper(threading.Thread):
    """One client: connects to a node by a transport, stays a while, and goes on elsewhere with its cursor."""

    def __init__(self, nodes, cursor, seed, stay=(0.3, 3.0), transports=TRANSPORTS):
        super().__init__(daemon=True)
        self.nodes, self.cursor, self.stay, self.transports = nodes, cursor, stay, transports
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.last = {}      # channel -> the last n
        self.positions = {} # channel -> the number of that message
        self.number = int(cursor.split(".")[1])
        self.faults = []    # what must never be
        self.missing = {}   # channel -> how many, where no gap has told so
        self.gaps = []
        self.upstream = []
        self.got = self.hops = self.errors = 0
        self.silence, self.heard = 0.0, None
        self.where = ""

    # --- the judge -------------------------------------------------------------------------------------------------

    def message(self, message):
        number, n, channel = int(message["cursor"].split(".")[1]), message["data"]["n"], message["channel"]
        before = self.last.get(channel, 0)
        if number <= self.number:
            self.faults.append(f"{self.where}: {channel} number {number} after {self.number}")
        if n <= before:
            self.faults.append(f"{self.where}: {channel} n {n} after {before}")
        elif n > before + 1:
            told = any(gap["channel"] in (channel, FILTER) and int(gap["to"].split(".")[1]) > self.positions.get(channel, 0)
                       for gap in self.gaps)
            if not told:
                self.faults.append(f"{self.where}: {channel} n {n} after {before}, no gap")
            self.missing[channel] = self.missing.get(channel, 0) + n - before - 1
        self.last[channel] = max(n, before)
        self.positions[channel] = number
        self.number = max(number, self.number)
        self.cursor = message["cursor"]
        self.got += 1
        now = time.monotonic()
        if self.heard:
            self.silence = max(self.silence, now - self.heard)
        self.heard = now

    def frame(self, frame):
        if frame.get("type") == "gap":
            self.gaps.append(frame)
        elif frame.get("type") == "upstream":
            self.upstream.append(frame)
        elif frame.get("type") == "error":
            raise ConnectionError(frame)

    # --- transports ------------------------------------------------------------------------------------------------

    async def ws_hop(self, node, until):
        async with websockets.connect(node.ws + "/ws", max_size=None, open_timeout=3, close_timeout=0.2) as socket:
            await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": FILTER, "cursor": self.cursor}))
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
        url = node.http + "/sse?channel=" + urllib.parse.quote(FILTER, safe="")
        with requests.get(url, headers={"Last-Event-ID": self.cursor}, stream=True, timeout=(3, 1)) as answer:
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
            answer = requests.get(node.http + "/poll", params={"channel": FILTER, "cursor": self.cursor, "wait": "0.3"},
                                  timeout=(3, 5))
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


class Field:
    """Everything together: publishers, hoppers, and the verdict."""

    def __init__(self, broker, nodes, clients=6, publishers=2, topics=10, rate=300, stay=(0.3, 3.0)):
        answer = nodes[0].get("/poll?channel=" + urllib.parse.quote(FILTER, safe="") + "&wait=0")
        cursor = answer.headers["Sluice-Cursor"]
        self.hoppers = [Hopper(nodes, cursor, seed, stay) for seed in range(clients)]
        for hopper in self.hoppers:
            hopper.start()
        self.publishers = [Publisher(broker, f"publisher-{i}", [f"plant/{i}-{j}/t" for j in range(topics)], rate / publishers)
                           for i in range(publishers)]

    def finish(self, timeout=30):
        """Stops the publishers, waits until every client has everything, and returns what it came to."""
        sent = {}
        for publisher in self.publishers:
            sent.update(publisher.stop())
        end = time.monotonic() + timeout
        while time.monotonic() < end and any(hopper.last.get(topic) != n for hopper in self.hoppers for topic, n in sent.items()):
            time.sleep(0.05)  # between two looks; what is missing at the end is told as a fault
        for hopper in self.hoppers:
            hopper.stopping.set()
        for hopper in self.hoppers:
            hopper.join(10)
        faults = [fault for hopper in self.hoppers for fault in hopper.faults]
        for hopper in self.hoppers:
            faults += [f"{hopper.where}: {topic} ends at {hopper.last.get(topic)} of {n}" for topic, n in sent.items()
                       if hopper.last.get(topic) != n]
        return {
            "sent": sum(sent.values()),
            "received": sum(hopper.got for hopper in self.hoppers),
            "clients": len(self.hoppers),
            "hops": sum(hopper.hops for hopper in self.hoppers),
            "errors": sum(hopper.errors for hopper in self.hoppers),
            "gaps": sum(len(hopper.gaps) for hopper in self.hoppers),
            "missing": sum(sum(hopper.missing.values()) for hopper in self.hoppers),
            "upstream": sum(len(hopper.upstream) for hopper in self.hoppers),
            "silence": max(hopper.silence for hopper in self.hoppers),
            "faults": faults,
        }
