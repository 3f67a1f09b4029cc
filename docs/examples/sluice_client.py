"""A small client for Sluice, written from docs/protocol.md alone: asyncio and the `websockets` package, nothing else.

    async with Sluice("ws://localhost:8080", token="…") as sluice:
        await sluice.subscribe("rooms/+/t", lambda message: print(message["channel"], message["data"]))
        await sluice.publish("lamps/1", {"state": "ON"})      # returns once the broker has it

It reconnects by itself with a back-off, resumes each subscription from its own position, and tells of what is missing.
"""
import asyncio
import inspect
import itertools
import json
import random

import websockets


class Refused(Exception):
    """The gateway's answer was an error; `code` is its machine word."""

    def __init__(self, frame):
        super().__init__(f"{frame['code']}: {frame['message']}")
        self.code = frame["code"]


class Subscription:
    def __init__(self, on_message, on_gap):
        self.on_message, self.on_gap = on_message, on_gap
        self.cursor = None    # the position to resume from
        self.answered = False # `subscribed` has come on this connection: from here on messages move the position
        self.seen = {}        # by channel, the cursor of the last message: filters that overlap may bring one again
        self.snapshot = 0     # last values still to come
        self.pending = None   # subscribed.cursor, the position once they are there

    def takes(self, channel, wanted):
        """MQTT's rule: `+` one level, `#` the rest and the level before; neither matches a leading `$`."""
        if channel.startswith("$") and wanted[0] in "+#":
            return False
        names, levels = channel.split("/"), wanted.split("/")
        for index, level in enumerate(levels):
            if level == "#":
                return True
            if index >= len(names) or (level != "+" and level != names[index]):
                return False
        return len(names) == len(levels)


def number(cursor):
    return int(cursor.rsplit(".", 1)[1])


def later(cursor, than):
    """Of another epoch counts as later: they can't be compared."""
    return than is None or cursor.rsplit(".", 1)[0] != than.rsplit(".", 1)[0] or number(cursor) > number(than)


class Sluice:
    def __init__(self, url, token=None, on_upstream=None):
        self.url, self.token, self.on_upstream = url, token, on_upstream
        self.subscriptions, self.answers, self.ids = {}, {}, itertools.count(1)
        self.socket, self.connected = None, asyncio.Event()

    async def __aenter__(self):
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def subscribe(self, channel, on_message, on_gap=None):
        self.subscriptions[channel] = Subscription(on_message, on_gap)
        await self.connected.wait()
        await self.send_subscribe(channel)

    async def publish(self, channel, data):
        await self.connected.wait()
        return await self.ask({"type": "publish", "channel": channel, "data": data})

    async def request(self, channel, data, timeout=5000):
        await self.connected.wait()
        return (await self.ask({"type": "request", "channel": channel, "data": data, "timeout": timeout}))["data"]

    async def ask(self, frame):
        """Sends a frame and waits for the answer with its id. If the connection breaks before, the outcome is unknown."""
        frame["id"] = next(self.ids)
        answer = self.answers[frame["id"]] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(frame))
        return await answer

    async def send_subscribe(self, channel):
        frame = {"type": "subscribe", "channel": channel}
        self.subscriptions[channel].answered = False
        if self.subscriptions[channel].cursor:
            frame["cursor"] = self.subscriptions[channel].cursor
        await self.ask(frame)

    async def run(self):
        delay = 0.5
        while True:
            try:
                async with websockets.connect(self.url + "/ws", max_size=None) as self.socket:
                    reader = asyncio.create_task(self.read())
                    try:
                        if self.token:
                            token = self.token() if callable(self.token) else self.token
                            await self.ask({"type": "hello", "token": token})
                        for channel in self.subscriptions:
                            await self.send_subscribe(channel)
                        self.connected.set()
                        delay = 0.5
                        await reader
                    finally:
                        reader.cancel()
            except (OSError, websockets.WebSocketException, ConnectionError):
                pass
            self.connected.clear()
            for answer in self.answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the connection broke; whether it took effect is unknown"))
            self.answers.clear()
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(delay * 2, 30)

    async def read(self):
        async for text in self.socket:
            frame = json.loads(text)
            kind = frame["type"]
            if kind == "message":
                await self.on_message(frame)
            elif kind == "subscribed":
                self.on_subscribed(frame)
            elif kind == "gap":
                for channel, subscription in self.subscriptions.items():
                    if subscription.on_gap and (frame["channel"] == channel or subscription.takes(frame["channel"], channel)):
                        subscription.on_gap(frame)
            elif kind == "upstream" and self.on_upstream:
                self.on_upstream(frame["state"])
            elif kind == "unsubscribed" and "id" not in frame:
                self.subscriptions.pop(frame["channel"], None)
            answer = self.answers.pop(frame.get("id"), None)
            if answer and not answer.done():
                answer.set_exception(Refused(frame)) if kind == "error" else answer.set_result(frame)

    def on_subscribed(self, frame):
        subscription = self.subscriptions[frame["channel"]]
        subscription.answered = True
        subscription.snapshot = frame["snapshot"]
        if frame["snapshot"]:
            subscription.pending = frame["cursor"]
        else:
            subscription.cursor = frame["cursor"]

    async def on_message(self, frame):
        for channel, subscription in list(self.subscriptions.items()):
            if not subscription.takes(frame["channel"], channel):
                continue
            if not subscription.answered:
                pass  # brought by another subscription; what this one has missed is still to come
            elif subscription.pending:
                # The position is known once all last values are there, or something later than them.
                subscription.snapshot -= 1
                if number(frame["cursor"]) > number(subscription.pending):
                    subscription.cursor, subscription.pending = frame["cursor"], None
                elif subscription.snapshot == 0:
                    subscription.cursor, subscription.pending = subscription.pending, None
            else:
                subscription.cursor = frame["cursor"]
            if not later(frame["cursor"], subscription.seen.get(frame["channel"])):
                continue
            subscription.seen[frame["channel"]] = frame["cursor"]
            result = subscription.on_message(frame)
            if inspect.isawaitable(result):
                await result
