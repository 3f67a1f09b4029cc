"""Clients that come back all at once cost the engine nothing: histories are in each gateway's memory."""
import asyncio
import json
import re
import sys

import websockets

from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

CLIENTS, ROUNDS, HISTORY = 100, 3, 50
# What nodes ask anyway: the log, the lease, and whether the keys are still there.
IDLE = {"xread", "eval", "evalsha", "get", "exists", "hexists", "zscore", "pexpire", "info", "ping", "pttl", "time"}


def commands(world):
    """Calls at the engine by command, since its start."""
    return {name: int(calls) for name, calls in re.findall(r"cmdstat_([^:]+):calls=(\d+)", world.redis.ask("INFO", "commandstats"))}


async def come_back(node, cursor):
    async with websockets.connect(node.ws + "/ws", open_timeout=20) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": "plant/#", "cursor": cursor}))
        got = 0
        while got < HISTORY:
            got += json.loads(await asyncio.wait_for(socket.recv(), 20))["type"] == "message"


async def storm(world, cursor):
    await asyncio.gather(*(come_back(world.nodes[i % len(world.nodes)], cursor) for i in range(CLIENTS)))


def test_a_storm_costs_the_engine_nothing(tmp_path):
    with cases.World(tmp_path, nodes=2) as world:
        device = Mqtt(world.plain)
        try:
            cursor = world.nodes[0].get("/poll?channel=plant/%23&wait=0").headers["Sluice-Cursor"]
            for i in range(HISTORY):
                device.publish(f"plant/{i % 5}/t", str(i))
            for node in world.nodes:
                wait_until(lambda: node.get("/poll", params={"channel": "plant/#", "cursor": cursor, "wait": "0"}).json()["messages"][-1]["data"] == HISTORY - 1,
                           what="the messages")
            before = commands(world)
            for _ in range(ROUNDS):
                asyncio.run(storm(world, cursor))
            rose = {name: calls - before.get(name, 0) for name, calls in commands(world).items() if calls > before.get(name, 0)}
            print(rose)
            assert set(rose) <= IDLE, rose
            assert sum(rose.values()) < CLIENTS * ROUNDS / 4, rose # by time, not by client
        finally:
            device.close()
