"""Windows of numbers in place of messages (decision 0027): those of the past and those that come live are what the history says."""
import asyncio
import json
import time
import urllib.request

import websockets

CHANNEL, FIELD, STEP = "soak/a/0", "/n", 1000 # milliseconds
BACK, LIVE = "-20s", 3.5


def of_messages(messages):
    """Windows by their beginning, of all but the first, of which a part may have left the history."""
    windows = {}
    for message in messages:
        windows.setdefault(message["ts"] // STEP * STEP, []).append(message["data"]["n"])
    return {t: {"count": len(n), "min": min(n), "max": max(n), "last": n[-1]} for t, n in sorted(windows.items())[1:]}


def judge(name, got, messages, findings):
    """`got`: windows by their beginning; the later one of two counts, and the newest may come again with more. Returns how many
    were compared."""
    if not got:
        findings.add("windows", f"{name}: none came")
        return 0
    wanted = of_messages(messages)
    compared = [t for t in sorted(set(wanted) | set(got)) if max(min(got), min(wanted, default=max(got))) <= t < max(got)]
    for t in compared:
        if got.get(t) != wanted.get(t):
            findings.add("windows", f"{name}: the window of {t} is {got.get(t)}, the history says {wanted.get(t)}")
    return len(compared)


def history(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/channels/{CHANNEL}/history", timeout=20) as answer:
        return json.load(answer)["messages"]


async def take(port):
    """Windows from BACK on, and LIVE seconds long those that come; None if the gateway says that something is missing."""
    got, end = {}, time.monotonic() + LIVE
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws", open_timeout=10, compression=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": CHANNEL, "since": BACK,
                                      "aggregate": {"field": FIELD, "every": f"{STEP}ms"}}))
        while time.monotonic() < end:
            try:
                frame = json.loads(await asyncio.wait_for(socket.recv(), max(0.01, end - time.monotonic())))
            except asyncio.TimeoutError:
                break
            if frame["type"] in ("gap", "error"):
                return None
            if frame["type"] == "message" and not frame["data"].get("partial"):
                got[frame["data"]["t"]] = {key: frame["data"][key] for key in ("count", "min", "max", "last")}
    return got


async def windows(gateway, findings, counts):
    """In a calm moment. A connection to the broker that breaks meanwhile makes that nothing to judge by."""
    links = gateway.truth.opened
    try:
        got = await take(gateway.port)
        messages = await asyncio.to_thread(history, gateway.port)
    except (OSError, AssertionError, asyncio.TimeoutError, websockets.WebSocketException) as error:
        findings.add("windows", f"{gateway.name}: {error!r}")
        return
    if got is not None and links == gateway.truth.opened:
        counts["windows: compared"] += judge(gateway.name, got, messages, findings)
