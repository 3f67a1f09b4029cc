"""docs/examples/sluice_client.py, written from docs/protocol.md alone, against the real gateway."""
import asyncio
import sys

import pytest
from conftest import yaml
from harness import ROOT, wait_until
from locked import Doors

sys.path.insert(0, str(ROOT / "docs/examples"))
from sluice_client import Refused, Sluice  # noqa: E402


async def test_values_publishing_and_errors(sluice, client):
    got = []
    client.publish("rooms/example/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/example/t").status_code == 200)
    async with Sluice(sluice.ws) as gateway:
        await gateway.subscribe("rooms/example/+", lambda message: got.append(message["data"]))
        client.publish("rooms/example/t", "2")
        await asyncio.to_thread(wait_until, lambda: got == [1, 2])
        assert (await gateway.publish("lamps/example", {"state": "ON"}))["type"] == "published"
        with pytest.raises(Refused) as refused:
            await gateway.publish("rooms/example/t", 1)
        assert refused.value.code == "forbidden"


async def test_resumes_over_lost_connections(world):
    """Through a relay that cuts the connection again and again: every number once, in order, and no gap."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    got, gaps, streams = [], [], []

    async def relay(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", gateway.port)
        streams[:] = [writer, back]

        async def pump(source, sink):
            try:
                while bytes := await source.read(65536):
                    sink.write(bytes)
                    await sink.drain()
            except OSError:
                pass
            sink.close()
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with Sluice(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as sluice:
        await sluice.subscribe("rooms/r/t", lambda message: got.append(message["data"]), gaps.append)
        for number in range(60):
            await asyncio.to_thread(client.publish, "rooms/r/t", str(number))
            if number % 20 == 10:
                for stream in streams:
                    stream.transport.abort()
        await asyncio.to_thread(wait_until, lambda: len(got) >= 60, 20)
    server.close()
    assert got == list(range(60)) and not gaps


async def test_tells_of_what_is_missing(world):
    """The gateway is killed and started anew: another epoch, so a gap and the last value."""
    broker = world.broker()
    first = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    got, gaps, upstream = [], [], []
    async with Sluice(first.ws, on_upstream=upstream.append) as sluice:
        await sluice.subscribe("rooms/r/t", lambda message: got.append(message["data"]), gaps.append)
        await asyncio.to_thread(client.publish, "rooms/r/t", "1", retain=True)
        await asyncio.to_thread(wait_until, lambda: got == [1])
        first.end()
        await asyncio.to_thread(client.publish, "rooms/r/t", "2", retain=True)
        world.sluice(yaml(broker.port, listen=f"127.0.0.1:{first.port}"))
        await asyncio.to_thread(wait_until, lambda: got[-1] == 2 and gaps, 20)
        assert {gap["reason"] for gap in gaps} == {"epoch"}


async def test_signs_in(world):
    doors = Doors(world.directory)
    gateway = world.sluice(doors.yaml(world.broker().port))
    async with Sluice(gateway.ws, token=lambda: doors.token("switcher")) as sluice:
        await sluice.subscribe("lamps/+", print)
        assert (await sluice.publish("lamps/1", 1))["type"] == "published"
        with pytest.raises(Refused) as refused:
            await sluice.subscribe("rooms/#", print)
        assert refused.value.code == "forbidden"
