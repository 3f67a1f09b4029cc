"""python/, the package sluice-client, against the real gateway: as it is installed from the wheel that it builds."""
import asyncio
import shutil
import subprocess
import sys
import tempfile
import zipfile

import pytest
from conftest import yaml
from harness import ROOT, wait_until
from locked import Doors

PACKAGE = tempfile.mkdtemp(prefix="sluice-python-")


def build():
    """The source and the wheel, as `python3 -m build` makes them; returns the names of the files in the wheel."""
    source = f"{PACKAGE}/source"
    shutil.copytree(ROOT / "python", source, ignore=shutil.ignore_patterns("__pycache__", "build", "dist", "*.egg-info"))
    made = subprocess.run(["/usr/bin/python3", "-m", "build", "--no-isolation", "--outdir", f"{PACKAGE}/dist", source], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    with zipfile.ZipFile(f"{PACKAGE}/dist/sluice_client-0.1.0-py3-none-any.whl") as wheel:
        wheel.extractall(f"{PACKAGE}/site")
        return wheel.namelist()


NAMES = build()
sys.path.insert(0, f"{PACKAGE}/site")
from sluice_client import Refused, Sluice, SyncSluice  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def clean():
    yield
    shutil.rmtree(PACKAGE)


def test_the_package_is_complete():
    folder = "sluice_client-0.1.0.dist-info"
    assert {"sluice_client/__init__.py", "sluice_client/client.py", "sluice_client/plain.py", "sluice_client/py.typed", f"{folder}/LICENSE", f"{folder}/METADATA"} <= set(NAMES)
    metadata = open(f"{PACKAGE}/site/{folder}/METADATA").read()
    assert "Requires-Dist: websockets" in metadata and "License: MIT" in metadata and "# sluice-client" in metadata
    listed = subprocess.run(["tar", "-tzf", f"{PACKAGE}/dist/sluice-client-0.1.0.tar.gz"], capture_output=True, text=True).stdout
    assert "sluice-client-0.1.0/LICENSE" in listed and "sluice-client-0.1.0/src/sluice_client/py.typed" in listed


def test_types(tmp_path):
    """Of the package, and of a program that uses it wrongly."""
    strict = ["/usr/bin/python3", "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run([*strict, "-p", "sluice_client"], cwd=f"{PACKAGE}/site", capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0, checked.stdout
    (tmp_path / "wrong.py").write_text("from sluice_client import SyncSluice\nwith SyncSluice('http://x') as s:\n    for m in s.stream(1):\n        m['chanel']\n")
    found = subprocess.run([*strict, str(tmp_path / "wrong.py")], cwd=f"{PACKAGE}/site", capture_output=True, text=True, timeout=120)
    assert 'incompatible type "int"; expected "str"' in found.stdout and 'Did you mean "channel"?' in found.stdout, found.stdout


async def test_values_publishing_and_errors(sluice, client):
    got = []
    client.publish("rooms/example/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/example/t").status_code == 200)
    async with Sluice(sluice.ws) as gateway:
        await gateway.subscribe("rooms/example/+", lambda message: got.append(message["data"]))
        client.publish("rooms/example/t", "2")
        await asyncio.to_thread(wait_until, lambda: got == [1, 2])
        assert await gateway.publish("lamps/example", {"state": "ON"}) == "published"
        assert (await gateway.get("rooms/example/t"))["data"] == 2 and await gateway.get("rooms/none/t") is None
        assert [message["data"] for message in await gateway.history("rooms/example/t", limit=1)] == [2]
        with pytest.raises(Refused) as refused:
            await gateway.publish("rooms/example/t", 1)
        assert refused.value.code == "forbidden"


async def test_begins_at_a_time(sluice, client):
    got = []
    for i in range(20):
        client.publish("rooms/since/t", str(i))
    wait_until(lambda: sluice.get("/channels/rooms/since/t").json().get("data") == 19)
    async with Sluice(sluice.ws) as mine:
        await mine.subscribe("rooms/since/+", lambda message: got.append(message["data"]), since="1h")
        client.publish("rooms/since/t", "20")
        await asyncio.to_thread(wait_until, lambda: len(got) >= 21)
    assert got == list(range(21))


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
        assert await sluice.publish("lamps/1", 1) == "published"
        with pytest.raises(Refused) as refused:
            await sluice.subscribe("rooms/#", print)
        assert refused.value.code == "forbidden"


async def test_a_token_that_is_refused_is_told(world):
    doors = Doors(world.directory)
    gateway = world.sluice(doors.yaml(world.broker().port))
    words = ["no-such-key", doors.token("switcher")]
    async with Sluice(gateway.http, token=lambda: words[0]) as sluice:
        with pytest.raises(Refused) as refused:
            await asyncio.wait_for(sluice.publish("lamps/1", 1), 30)
        assert refused.value.code == "unauthorized"
        words.pop(0) # a good one from now on
        while True:
            try:
                assert await sluice.publish("lamps/1", 1) == "published"
                break
            except Refused:
                await asyncio.sleep(0.05)


async def test_a_stream_ends_with_its_loop(sluice, client):
    client.publish("rooms/stream/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/stream/t").status_code == 200)
    async with Sluice(sluice.http) as gateway:
        got = []
        stream = gateway.stream("rooms/stream/+")
        async for message in stream:
            got.append(message["data"])
            if len(got) == 3:
                break
            await asyncio.to_thread(client.publish, "rooms/stream/t", str(len(got) + 1))
        await stream.aclose()
        assert got == [1, 2, 3] and not gateway._subscriptions
        with pytest.raises(Refused) as refused:
            async for _ in gateway.stream("nowhere/x"):
                pass
        assert refused.value.code == "unknown_channel"


def test_without_asyncio(sluice, client):
    client.publish("rooms/plain/t", "1")
    wait_until(lambda: sluice.get("/channels/rooms/plain/t").status_code == 200)
    with SyncSluice(sluice.http) as gateway:
        heard = []
        gateway.subscribe("rooms/plain/t", heard.append)
        assert gateway.publish("lamps/plain", {"state": "ON"}) == "published"
        with pytest.raises(Refused):
            gateway.publish("rooms/plain/t", 1)
        with pytest.raises(ValueError):
            gateway.publish("lamps/plain", float("nan"))
        got = []
        for message in gateway.stream("rooms/plain/+"):
            got.append(message["data"])
            if len(got) == 3:
                break
            client.publish("rooms/plain/t", str(len(got) + 1))
        assert got == [1, 2, 3]
        assert gateway.get("rooms/plain/t")["data"] == 3 and gateway.get("rooms/nothing/t") is None
        assert gateway.history("rooms/plain/t")[-1]["data"] == 3
        wait_until(lambda: [message["data"] for message in heard] == [1, 2, 3])
    with pytest.raises(ValueError):
        SyncSluice("localhost:8080")


async def test_a_command_that_is_confirmed(world):
    """The gateway hears itself what is published to echo/#, which stands for a device that does it."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, """
  - { topic: echo/#, publish: { confirm: true } }
  - { topic: "deaf/{id}", publish: { topic: "echo/deaf/{id}", confirm: { within: 50ms } } }
"""))
    async with Sluice(gateway.http) as sluice:
        assert await sluice.publish("echo/1", {"state": "ON"}, confirm=True, key="one") == "confirmed"
        assert await sluice.publish("echo/1", {"state": "ON"}, confirm=True, key="one") == "confirmed"
        assert await sluice.publish("deaf/1", 1, confirm=True) == "timeout"
        assert await sluice.publish("echo/1", 1) == "published"
        with pytest.raises(Refused) as refused:
            await sluice.publish("echo/1", 2, key="one")
        assert refused.value.code == "bad_request"
    with SyncSluice(gateway.http) as plain:
        assert plain.publish("echo/1", 3, confirm=True) == "confirmed"
