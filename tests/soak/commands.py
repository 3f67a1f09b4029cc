"""Commands that a lamp at the broker confirms by its state (decision 0024), or does not: by the number that each carries."""
import asyncio
import json
import threading
import time

import websockets
from atbroker import AtBroker

ANSWER = 12 # seconds; broker.publish_timeout is 5 s, `within` one
HOW = ("never", "late", "twice", "by way of another", "at once")


def how(n):
    return HOW[n % len(HOW)]


class Lamp(AtBroker):
    filter = "lamp/+/set"

    def on_message(self, client, _data, message):
        topic, n = message.topic.removesuffix("/set"), json.loads(message.payload)["n"]

        def say(value):
            client.publish(topic, json.dumps({"n": value}), 1)
        if how(n) == "late":
            timer = threading.Timer(0.3, say, (n,))
            timer.daemon = True
            timer.start()
        elif how(n) != "never":
            if how(n) == "by way of another":
                say(-n)
            for _ in range(2 if how(n) == "twice" else 1):
                say(n)


def ended(upward, n, frame, values):
    """`values`: what came to the client, by cursor."""
    upward.counts["command: " + frame.get("code", frame["type"])] += 1
    if frame["type"] == "confirmed" and (how(n) == "never" or values.get(frame["cursor"]) != {"n": n}):
        upward.findings.add("confirmed without the state", f"{upward.gateway.name}: {frame}, there {values.get(frame['cursor'])}")


def judge_commands(upward):
    """At the end: in calm moments at least they are confirmed."""
    if not upward.counts["command: confirmed"]:
        upward.findings.add("no answer", f"{upward.gateway.name}: not one command was confirmed")


async def command(upward):
    """Five of them, of a client that sees the channel: what is called confirmed must be there, under the cursor that is named."""
    gateway = upward.gateway
    channel = f"lamp/{gateway.name}"
    async with websockets.connect(f"ws://127.0.0.1:{gateway.port}/ws", open_timeout=ANSWER, ping_interval=None, close_timeout=1) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": "s", "channel": channel}))
        values = {}
        for _ in range(5):
            upward.n += 1
            n, end = upward.n, time.monotonic() + ANSWER
            await socket.send(json.dumps({"type": "publish", "id": n, "channel": channel, "data": {"n": n}, "confirm": True}))
            while True:
                frame = json.loads(await asyncio.wait_for(socket.recv(), end - time.monotonic()))
                if frame["type"] == "message":
                    values[frame["cursor"]] = frame["data"]
                elif frame["type"] in ("confirmed", "timeout", "error") and frame.get("id") == n:
                    break
            ended(upward, n, frame, values)
            await asyncio.sleep(0.1)
