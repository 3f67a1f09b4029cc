"""How long after its last message a channel is called stale, while nothing is broken."""
import asyncio
import json
import time

import websockets

from world import harness

STALE = 2 # seconds, as the configuration says
LATE = 5  # ... and more at most: a tick of the wheel, and a machine that has everything else of the soak to do


async def silence(gateway, broker, findings):
    """A connection to the broker that breaks meanwhile makes that nothing to judge by."""
    links, channel = gateway.truth.opened, f"quiet/{gateway.name}"
    try:
        silent, states = await one_message(gateway.port, broker.port, channel)
    except (OSError, AssertionError, asyncio.TimeoutError, websockets.WebSocketException) as error:
        findings.add("silence", f"{gateway.name}: {error!r}")
        return
    if links != gateway.truth.opened:
        return
    if silent is None:
        findings.add("silence", f"{gateway.name}: the message on {channel} did not come")
    elif states[-1:] != ["stale"]:
        findings.add("silence", f"{gateway.name}: {channel} is not called stale, {states} was told")
    elif not STALE - 0.2 < silent < STALE + LATE:
        findings.add("silence", f"{gateway.name}: {channel} was called stale after {silent:.2f} s, it may be {STALE} to {STALE + LATE}")


async def one_message(port, broker, channel):
    """And then none. Returns for how many seconds, None if it has not come, and the states that were told."""
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws", open_timeout=10, compression=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": channel, "cursor": json.loads(await socket.recv())["cursor"]}))
        await socket.recv()
        await asyncio.to_thread(publish, broker, channel)
        seen, states = None, []
        end = time.monotonic() + STALE + LATE + 10
        while "stale" not in states and time.monotonic() < end:
            try:
                frame = json.loads(await asyncio.wait_for(socket.recv(), max(0.01, end - time.monotonic())))
            except asyncio.TimeoutError:
                break
            if frame["type"] == "message":
                seen = time.monotonic()
            elif frame["type"] == "status" and seen: # until then it is that of the message before
                states.append(frame["state"])
        return seen and time.monotonic() - seen, states


def publish(port, topic):
    client = harness.Mqtt(port)
    try:
        client.publish(topic, b"1")
    finally:
        client.close()
