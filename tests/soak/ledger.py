"""The publisher, a stock MQTT client, and the list of everything that it sent."""
import asyncio
import bisect
import collections
import contextlib
import json
import threading
import time

import paho.mqtt.client as mqtt

CHANNELS = [f"soak/a/{i}" for i in range(4)] + [f"soak/b/{i}" for i in range(4)] + \
           ["soak/s/0", "soak/s/1", "soak/r/0", "soak/q/0", "soak/o/0"]
SAME = 4 # so many messages on soak/o/ have the same value, which is their number divided by this
UNANSWERED = 300


class Entry:
    __slots__ = ("begin", "end")

    def __init__(self):
        self.begin, self.end = time.monotonic(), None


class Ledger:
    """Numbers count up for ever on each channel. What was not acknowledged when the connection broke is never sent again (each
    connection is a new client), so a message is published once or not at all."""

    def __init__(self, port, random):
        self.port, self.random = port, random
        self.entries = {channel: {} for channel in CHANNELS}
        self.next = dict.fromkeys(CHANNELS, 1)
        self.broker_lives = [time.monotonic()]
        self.client = None
        self.connected = threading.Event()
        self.waiting = {}
        self.counts = collections.Counter()
        self.pace = 0.03
        self.paused = False
        self.lock = asyncio.Lock()

    def broker_life(self, at):
        return bisect.bisect(self.broker_lives, at)

    def make_client(self):
        self.drop_client()
        client = mqtt.Client(client_id="", protocol=mqtt.MQTTv311)
        client.max_inflight_messages_set(200)
        client.max_queued_messages_set(0)
        client.on_connect = lambda *_: self.connected.set()
        client.on_disconnect = lambda *_: self.connected.clear()
        client.on_publish = self.on_publish
        client.connect("127.0.0.1", self.port, 60)
        self.client = client
        client.loop_start()

    def drop_client(self):
        client, self.client = self.client, None
        self.connected.clear()
        self.waiting = {}
        if client:
            client.on_publish = client.on_connect = client.on_disconnect = None
            client.reconnect_delay_set(3600, 3600)
            with contextlib.suppress(Exception):
                client.disconnect()
            with contextlib.suppress(Exception):
                client._sock_close()
            client.loop_stop()

    def on_publish(self, client, _data, mid):
        if client is not self.client:
            return
        entry = self.waiting.pop(mid, None)
        if entry:
            entry.end = time.monotonic()
            self.counts["acknowledged"] += 1
        else:
            self.early.add(mid)

    def publish(self, channel, pad=0, new=False):
        """`new`: one that says something new, whatever came before."""
        client = self.client
        if not client:
            return None
        n = self.next[channel]
        if new and channel.startswith("soak/o/"):
            n += -n % SAME
        payload = {"c": channel, "n": n, "t": int(time.time() * 1000)}
        if channel.startswith("soak/o/"):
            payload["v"] = n // SAME
        if pad:
            payload["pad"] = "x" * pad
        self.next[channel] = n + 1
        entry = Entry()
        self.early = set()
        info = client.publish(channel, json.dumps(payload), 0 if channel == "soak/q/0" else 2, channel == "soak/r/0")
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            self.counts["not sent"] += 1
            return None
        self.entries[channel][n] = entry
        self.waiting[info.mid] = entry
        if info.mid in self.early:
            self.on_publish(client, None, info.mid)
        self.counts["published"] += 1
        return n

    async def ready(self):
        async with self.lock: # the publisher and a checkpoint may both want a new client
            while not self.connected.is_set():
                try:
                    await asyncio.to_thread(self.make_client)
                except OSError:
                    await asyncio.sleep(0.1)
                    continue
                await asyncio.to_thread(self.connected.wait, 10)

    async def run(self):
        while True:
            await self.ready()
            if len(self.waiting) < UNANSWERED and not self.paused:
                self.publish(self.random.choice(CHANNELS))
            await asyncio.sleep(self.pace)

    async def burst(self, count, pad):
        for _ in range(count):
            if not self.connected.is_set() or len(self.waiting) > UNANSWERED:
                await asyncio.sleep(0.05)
                continue
            self.publish(self.random.choice(CHANNELS), pad)
            await asyncio.sleep(0.001)

    async def mark(self):
        """A message on each channel, acknowledged by the broker: {channel: n}."""
        while True:
            await self.ready()
            marks = {channel: self.publish(channel, new=True) for channel in CHANNELS}
            if None in marks.values():
                await asyncio.sleep(0.05)
                continue
            entries = [self.entries[channel][n] for channel, n in marks.items()]
            end = time.monotonic() + 15
            while time.monotonic() < end and self.connected.is_set():
                if all(entry.end for entry in entries):
                    return marks
                await asyncio.sleep(0.02)
