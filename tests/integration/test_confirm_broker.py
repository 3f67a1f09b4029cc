"""Commands that wait to be confirmed, and the broker: lost between, slow to acknowledge, resending what it stores."""
import asyncio
import json
import signal

import pytest
from conftest import yaml
from fake_broker import FakeBroker
from harness import wait_until
from lamps import Devices
from wsclient import connect

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: /state, within: 8s } }
"""


async def send(ws, **more):
    await ws.send(type="publish", id=1, channel="lamps/never", data={"state": "ON"}, confirm=True, **more)


async def outcome(ws):
    """The receipts up to the last one; whatever else comes by the way is not looked at."""
    while True:
        frame = await ws.recv()
        if frame["type"] in ("confirmed", "timeout", "error", "published"):
            return frame


@pytest.mark.parametrize("live", [True, False])
async def test_the_broker_is_killed_after_it_has_the_command(world, live):
    """A value that the broker stored meanwhile may be older than the command, and confirms nothing; a live one does."""
    broker = world.broker()
    devices = Devices(broker.port)
    gateway = world.sluice(yaml(broker.port, ROUTES.replace("8s", "60s") if live else ROUTES))
    async with connect(gateway) as ws:
        await send(ws)
        assert (await outcome(ws))["type"] == "published"
        broker.kill()  # SIGKILL
        gateway.signal(signal.SIGSTOP)
        devices.ready.clear()
        broker.start()
        assert await asyncio.to_thread(devices.ready.wait, 10)
        devices.say("z2m/never", {"state": "ON"}, retain=True)
        check = world.mqtt(broker.port, subscribe=["z2m/never"])
        wait_until(lambda: check.messages)
        gateway.signal(signal.SIGCONT)
        wait_until(lambda: gateway.get("/channels/lamps/never").status_code == 200)
        if live:
            devices.say("z2m/never", {"state": "ON", "live": True})
            end = await outcome(ws)
            assert end["type"] == "confirmed"
            last = gateway.get("/channels/lamps/never").json()
            assert (last["cursor"], last["data"]["live"]) == (end["cursor"], True)
        else:
            end = await outcome(ws)
            assert end["type"] == "timeout" and end["data"] == {"state": "ON"}
    devices.close()


async def test_the_broker_is_lost_before_it_acknowledges(world):
    """Nobody knows whether it took effect: an error, and never `confirmed`."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))
    async with connect(gateway) as ws:
        broker.freeze()
        await send(ws)
        await ws.quiet()
        broker.child.kill()  # it must not wake up before
        end = await outcome(ws)
        assert (end["type"], end["code"]) in [("error", "upstream_down"), ("error", "timeout")]
        assert "\nsluice_confirms 0\n" in gateway.get("/metrics").text


class Slow(FakeBroker):
    """Passes the device's answers on before it acknowledges the command: `answers`, then PUBACK."""

    answers = ()

    def publish(self, c, packet):
        for answer in self.answers:
            c.publish("z2m/never", json.dumps(answer).encode())
        c.puback(packet["mid"], self.reason)
        for answer in self.after:
            c.publish("z2m/never", json.dumps(answer).encode())

    reason, after = 0, ()


@pytest.fixture
def slow(world):
    broker = world.keep(Slow())
    broker.gateway = world.sluice(yaml(broker.port, ROUTES.replace("8s", "300ms")))
    return broker


def state(value, **more):
    return {"state": value, **more}


@pytest.mark.parametrize("before,answers,after,end", [
    (None, [state("ON")], [], "confirmed"),  # it was not so, and is so by the command
    ("OFF", [state("ON")], [], "confirmed"),
    ("ON", [state("ON", n=1)], [], "timeout"),  # it was so all the time: the report may be from before
    ("ON", [state("ON", n=1)], [state("ON", n=2)], "confirmed"),
    ("OFF", [state("ON"), state("OFF")], [], "timeout"),  # something else has been since
    ("OFF", [{"n": 1}], [state("OFF")], "timeout"),
])
async def test_answers_that_come_before_the_acknowledgement(slow, before, answers, after, end):
    if before:
        slow.connections[-1].publish("z2m/never", json.dumps(state(before)).encode())
        wait_until(lambda: slow.gateway.get("/channels/lamps/never").status_code == 200)
    slow.answers, slow.after = answers, after
    async with connect(slow.gateway) as ws:
        await send(ws)
        assert (await outcome(ws))["type"] == "published"
        assert (await outcome(ws))["type"] == end


async def test_nobody_is_there(slow):
    """The broker says that nobody is subscribed to the command's topic: there is nothing to wait for."""
    slow.reason = 0x10
    async with connect(slow.gateway) as ws:
        await send(ws)
        end = await outcome(ws)
        assert (end["type"], end["code"]) == ("error", "no_responder")
