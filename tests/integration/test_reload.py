"""SIGHUP under load: routes, roles, limits and keys change under live sessions, and nobody is dropped (issue: Locked doors, 6)."""
import asyncio
import secrets

import pytest
from conftest import yaml
from harness import SANITIZED, wait_until
from locked import ROLES, ROUTES, Doors
from test_auth import code
from test_sse import Stream
from wsclient import Ws, closed, connect, dial

pytestmark = pytest.mark.sanitize
SESSIONS = 60 if SANITIZED else 1000
NARROW = ROLES.replace('subscribe: ["rooms/#", "lamps/+"]', 'subscribe: ["rooms/#"]')


class Session:
    """Remembers numbers and what else it was told; anything that is lost, doubled or out of order is an error at once."""

    def __init__(self, socket):
        self.ws = Ws(socket)
        self.next, self.told = 0, []

    async def start(self):
        await self.ws.until("welcome")
        await self.ws.subscribe("rooms/r/t", id=1)
        await self.ws.subscribe("lamps/+", id=2)
        return self

    async def upto(self, number):
        while self.next <= number:
            frame = await self.ws.recv(60)
            if frame["type"] == "message" and frame["channel"] == "rooms/r/t":
                assert frame["data"] == self.next, (frame, self.next)
                self.next += 1
            else:
                self.told.append(frame)


def reload(gateway, text, expect="reloaded "):
    before = gateway.text().count(expect)
    gateway.config.write_text(text)
    gateway.signal(1)
    wait_until(lambda: gateway.text().count(expect) > before, 30)


@pytest.mark.timeout(240)
def test_thousand_sessions_and_reloads_in_a_loop(world):
    doors = Doors(world.directory)
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    wide = doors.yaml(broker.port, extra="limits: { queue: 1MiB }\n")
    narrow = doors.yaml(broker.port, roles=NARROW, extra="limits: { queue: 2MiB, subscriptions: 5 }\nweb: { heartbeat: 20s }\n",
                        routes=ROUTES + "  - topic: more/{x}\n")
    broken = wide.replace("viewer:", "viewer: [", 1)
    gateway = world.sluice(wide)
    client = world.mqtt(broker.port)
    viewer = {"Authorization": "Bearer " + doors.token("viewer", lifetime=3600)}
    both = {"Authorization": "Bearer " + doors.token("viewer", "switcher", lifetime=3600)}
    key = {"Authorization": "Bearer " + doors.key}

    async def run():
        loop = asyncio.get_running_loop()
        sockets, sessions = [], []
        for number in range(SESSIONS):
            sockets.append(await dial(gateway.ws + "/ws", (viewer, both, key)[number % 3], ping_interval=None, close_timeout=1))
            sessions.append(await Session(sockets[-1]).start())
        viewers = [s for number, s in enumerate(sessions) if number % 3 != 1]
        switchers = sessions[1::3]
        number = -1

        async def load(count):
            nonlocal number
            for _ in range(count):
                number += 1
                await loop.run_in_executor(None, client.publish, "rooms/r/t", str(number))

        for turn in range(12):
            feeding = asyncio.create_task(load(6))
            if turn % 3 == 0: # the same permissions, other keys: who is in stays in
                doors.secret = secrets.token_hex(32)
                doors.file.write_text(doors.secret)
                await loop.run_in_executor(None, reload, gateway, wide)
            elif turn % 3 == 1:
                await loop.run_in_executor(None, reload, gateway, narrow)
            else:
                await loop.run_in_executor(None, reload, gateway, broken, "reload failed")
            await feeding
            await asyncio.gather(*(s.upto(number) for s in sessions))
            if turn == 1:
                # Told once, cut from just that channel; those whose other role grants it keep it.
                gone = {"type": "unsubscribed", "channel": "lamps/+", "code": "forbidden", "message": "this is no longer allowed"}
                # The log speaks before the MQTT thread has come to it: the reload may stand behind messages in the sequence.
                for _ in range(50):
                    if all(s.told for s in viewers):
                        break
                    await load(1)
                    await asyncio.gather(*(s.upto(number) for s in sessions))
                assert all(s.told == [gone] for s in viewers) and all(not s.told for s in switchers)
                await loop.run_in_executor(None, client.publish, "lamps/1", "ON")
                await asyncio.gather(*(s.ws.until("message") for s in switchers))
                await viewers[0].ws.send(type="subscribe", id=9, channel="lamps/+")
                assert (await viewers[0].ws.until("error"))["code"] == "forbidden"
        assert all(s.told == [gone] for s in viewers) and all(not s.told for s in switchers)
        # Whoever comes now needs the new key.
        answers = await loop.run_in_executor(None, lambda: [gateway.get("/channels", headers=h) for h in (viewer, doors.bearer("viewer"))])
        assert [a.status_code for a in answers] == [401, 200]
        # Without its API key a session has nothing to stand on.
        await loop.run_in_executor(None, reload, gateway, doors.yaml(broker.port, key=False))
        for socket in sockets[2::3][:20]:
            assert (await closed(socket))[0] == 4401
        await load(3)
        await asyncio.gather(*(s.upto(number) for i, s in enumerate(sessions) if i % 3 != 2))
        for socket in sockets:
            socket.transport.abort()
    asyncio.run(run())


def test_streams_and_polls_lose_permissions_too(world):
    doors = Doors(world.directory)
    broker = world.broker()
    gateway = world.sluice(doors.yaml(broker.port))
    client = world.mqtt(broker.port)
    headers = doors.bearer("viewer")
    both = Stream(gateway, "?channel=rooms/%23&channel=lamps/%2B", headers=headers)
    lamps = Stream(gateway, "?channel=lamps/%2B", headers=headers)
    poll = asyncio.new_event_loop()
    waiting = poll.run_in_executor(None, lambda: gateway.get("/poll?channel=lamps/1&wait=20", headers=headers))
    wait_until(lambda: gateway.metric("sluice_sessions") == 3)
    reload(gateway, doors.yaml(broker.port, roles=NARROW))
    forbidden = {"type": "error", "code": "forbidden", "channel": "lamps/+", "message": "this is no longer allowed"}
    assert both.event() == ("error", forbidden)
    assert lamps.event() == ("error", forbidden) and lamps.event() is None # nothing is left to come
    assert code(poll.run_until_complete(waiting), 403) == "forbidden"
    poll.close()
    client.publish("lamps/1", "ON")
    client.publish("rooms/k/t", "1")
    assert both.message()["channel"] == "rooms/k/t"
    both.close()


def test_fields_change_under_live_sessions(world):
    doors = Doors(world.directory)
    broker = world.broker()
    gateway = world.sluice(doors.yaml(broker.port))
    client = world.mqtt(broker.port)

    async def run():
        async with dial(gateway.ws + "/ws", doors.bearer("some")) as socket:
            ws = Ws(socket)
            await ws.until("welcome")
            await ws.subscribe("rooms/#")
            client.publish("rooms/k/t", '{"t":1,"h":2,"x":3}')
            assert (await ws.until("message"))["data"] == {"t": 1, "h": 2}
            await asyncio.to_thread(reload, gateway, doors.yaml(broker.port, roles=ROLES.replace("fields: [t, h]", "fields: [x]")))
            client.publish("rooms/k/t", '{"t":1,"h":2,"x":4}')
            assert (await ws.until("message"))["data"] == {"x": 4}
            await ws.subscribe("rooms/#", id=2)
            assert (await ws.until("message"))["data"] == {"x": 4}
    asyncio.run(run())


def test_doors_are_put_up_and_taken_down(world):
    """auth: comes by a reload: who has no credentials is ended. It goes by a reload: everybody may do everything."""
    doors = Doors(world.directory)
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))

    async def run():
        async with connect(gateway) as ws:
            await ws.subscribe("rooms/#")
            await asyncio.to_thread(reload, gateway, doors.yaml(broker.port))
            assert (await closed(ws.socket))[0] == 4401
        async with connect(gateway) as ws:
            await ws.send(type="hello", id=3, token=doors.token("viewer"))
            await ws.until("hello")
            await ws.subscribe("rooms/#")
            await asyncio.to_thread(reload, gateway, yaml(broker.port, ROUTES))
            await asyncio.to_thread(wait_until, lambda: gateway.get("/channels").status_code == 200)
            await ws.subscribe("secret/#", id=4)
            await ws.quiet()
    asyncio.run(run())
    assert gateway.get("/channels").status_code == 200


def test_unreadable_keys_change_nothing(world):
    doors = Doors(world.directory)
    broker = world.broker()
    gateway = world.sluice(doors.yaml(broker.port))
    doors.file.write_text("short")
    reload(gateway, doors.yaml(broker.port, roles=NARROW), "reload failed")
    assert gateway.get("/poll?channel=lamps/1&wait=0", headers=doors.bearer("viewer")).status_code == 204
