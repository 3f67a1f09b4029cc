"""Publishing from /ws, raw sockets and POST, acknowledged by the broker; and raw sockets in general."""
import asyncio
import concurrent.futures

import pytest
import websockets
from harness import wait_until
from wsclient import connect

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def devices(shared):
    return shared.mqtt(shared.main_broker.port, subscribe=["#"])


def arrived(devices, topic, payload):
    return wait_until(lambda: payload in devices.payloads(topic), what=f"{payload!r} on {topic}")


async def test_published_from_a_websocket(sluice, devices):
    async with connect(sluice) as ws:
        await ws.subscribe("devices/lamp1")
        assert await ws.publish("devices/lamp1", {"state": "ON"}, id="p1") == {"type": "published", "id": "p1"}
        arrived(devices, "zigbee2mqtt/lamp1/set", b'{"state": "ON"}')
        await ws.quiet()  # the device has not answered: there is no echo but through the broker


async def test_echo_comes_through_the_broker(sluice, devices):
    async with connect(sluice) as ws:
        await ws.subscribe("lamps/echo")
        await ws.send(type="publish", id=1, channel="lamps/echo", data="ON")
        frames = [await ws.recv(), await ws.recv()]
        assert sorted(frame["type"] for frame in frames) == ["message", "published"]


async def test_qos_and_retain_are_the_routes(sluice, devices):
    async with connect(sluice) as ws:
        assert (await ws.publish("twice/a", 1))["type"] == "published"
        assert (await ws.publish("once/a", 1))["type"] == "accepted"
    assert sluice.post("/channels/twice/b", b"x").status_code == 200
    message = wait_until(lambda: [m for m in devices.messages if m.topic == "twice/b"])[0]
    assert message.qos == 2
    message = wait_until(lambda: [m for m in devices.messages if m.topic == "once/a"])[0]
    assert message.qos == 0
    late = sluice.get("/channels/twice/b")
    assert late.status_code == 200


def test_retained_only_where_the_route_says_so(shared, sluice):
    assert sluice.post("/channels/lamps/retain", b"ON").status_code == 200
    assert sluice.post("/channels/twice/retain", b"ON").status_code == 200
    late = shared.mqtt(shared.main_broker.port, subscribe=["lamps/retain", "twice/retain"])
    wait_until(lambda: late.payloads("twice/retain") == [b"ON"])
    assert late.payloads("lamps/retain") == [] and late.messages[0].retain


def test_post(sluice, devices):
    answer = sluice.post("/channels/lamps/post", b"\x00\xff raw \n bytes")
    assert (answer.status_code, answer.json()) == (200, {"status": "published"})
    arrived(devices, "lamps/post", b"\x00\xff raw \n bytes")
    answer = sluice.post("/channels/once/post", b"x")
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    assert sluice.post("/channels/lamps/empty", b"").status_code == 200
    arrived(devices, "lamps/empty", b"")


@pytest.mark.parametrize("channel,status,code", [
    ("rooms/a/t", 403, "forbidden"), ("nowhere/at/all/x", 404, "unknown_channel"), ("lamps/%2B", 400, "bad_request"),
    ("denied/x", 403, "forbidden"),
])
def test_refusals_over_http(sluice, channel, status, code):
    answer = sluice.post(f"/channels/{channel}", b"x")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_refusals_on_the_websocket(sluice):
    async with connect(sluice) as ws:
        for channel, code in [("rooms/a/t", "forbidden"), ("nowhere/at/all/x", "unknown_channel")]:
            error = await ws.publish(channel, 1, id=77)
            assert (error["type"], error["id"], error["code"]) == ("error", 77, code)
        error = await ws.publish("denied/x", 1, id=78)
        assert error["code"] == "forbidden" and error["reason"] == 0x87 and error["id"] == 78


def test_too_large(sluice):
    assert sluice.post("/channels/lamps/big", b"x" * (1024 * 1024)).status_code == 200
    answer = sluice.post("/channels/lamps/big", b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("channel,data,payload", [
    ("lamps/d", "ON", b"ON"), ("lamps/d", 21.5, b"21.5"), ("lamps/d", None, b""), ("lamps/d", True, b"true"),
    ("lamps/d", {"base64": "AP8="}, b"\x00\xff"), ("lamps/d", "ü\u0000\n", "ü\0\n".encode()),
    ("json/d", "ON", b'"ON"'), ("json/d", None, b""), ("text/d", "ON", b"ON"), ("text/d", 5, b"5"),
    ("number/d", 5.25, b"5.25"), ("base64/d", "AP8=", b"\x00\xff"),
])
async def test_data_becomes_payload(sluice, devices, channel, data, payload):
    devices.messages.clear()
    async with connect(sluice) as ws:
        assert (await ws.publish(channel, data))["type"] == "published"
    arrived(devices, channel, payload)


@pytest.mark.parametrize("channel,data", [("number/d", "five"), ("base64/d", "?"), ("base64/d", 5),
                                          ("lamps/d", {"base64": "?"})])
async def test_data_that_the_codec_refuses(sluice, channel, data):
    async with connect(sluice) as ws:
        error = await ws.publish(channel, data)
        assert error["code"] == "bad_request" and error["message"]


def test_body_that_the_codec_refuses(sluice):
    answer = sluice.post("/channels/json/d", b"{bad")
    assert (answer.status_code, answer.json()["code"]) == (400, "not_json")
    assert sluice.post("/channels/number/d", b"five").json()["code"] == "bad_request"


async def test_numbers_pass_unchanged(sluice, devices):
    async with connect(sluice) as ws:
        await ws.socket.send('{"type":"publish","id":1,"channel":"json/exact",'
                             '"data":{"big":123456789012345678901234567890,"e":1e400,"z":1.10}}')
        assert (await ws.recv())["type"] == "published"
    arrived(devices, "json/exact", b'{"big":123456789012345678901234567890,"e":1e400,"z":1.10}')


async def test_many_in_flight_each_with_its_answer(sluice):
    async with connect(sluice) as ws:
        for number in range(50):
            await ws.send(type="publish", id=number, channel="lamps/many", data=number)
        answers = [await ws.recv() for _ in range(50)]
        assert sorted(answer["id"] for answer in answers) == list(range(50))
        assert {answer["type"] for answer in answers} == {"published"}


# --- raw sockets ------------------------------------------------------------------------------------------------------

async def test_raw_socket_both_ways(sluice, client, devices):
    client.publish("lamps/raw", '{"a": 1}')
    wait_until(lambda: sluice.get("/channels/lamps/raw").status_code == 200)
    async with websockets.connect(sluice.ws + "/channels/lamps/raw") as raw:
        assert await raw.recv() == '{"a": 1}'
        await raw.send("ON")
        arrived(devices, "lamps/raw", b"ON")
        assert await raw.recv() == "ON"
        client.publish("lamps/raw", b"\xff\xfe")
        assert await raw.recv() == b"\xff\xfe"
        client.publish("lamps/raw", b"")
        assert await raw.recv() == ""


async def test_raw_socket_refusals(sluice):
    for path, status in [("/channels/nowhere/at/all/x", 404), ("/channels/", 400), ("/channels/a%2", 400)]:
        with pytest.raises(websockets.InvalidHandshake, match=f"HTTP {status}"):
            await websockets.connect(sluice.ws + path)
    async with websockets.connect(sluice.ws + "/channels/rooms/raw/t") as raw:
        await raw.send("x")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await raw.recv()
        assert closed.value.rcvd.code == 1008 and closed.value.rcvd.reason.startswith("forbidden")


# --- the broker does not answer -----------------------------------------------------------------------------------------

async def test_published_not_before_the_broker_says_so(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    async with connect(gateway) as ws:
        await ws.subscribe("lamps/slow")
        broker.freeze()
        await ws.send(type="publish", id=1, channel="lamps/slow", data=1)
        await ws.send(type="publish", id=2, channel="once/slow", data=1)
        assert await ws.recv() == {"type": "accepted", "id": 2}
        await ws.quiet()
        broker.thaw()
        types = set()
        while "published" not in types:
            frame = await ws.recv()
            types.add(frame["type"])


def test_timeout_is_told(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        broker.freeze()
        answer = pool.submit(gateway.post, "/channels/lamps/slow", b"x").result(20)
        assert (answer.status_code, answer.json()["code"]) in [(504, "timeout")]
        broker.thaw()
    # It is not known whether it took effect; here it did, and the late acknowledgement is counted.
    wait_until(lambda: gateway.metric("sluice_publish_late_total") == 1)


async def test_upstream_down(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    async with connect(gateway) as ws:
        broker.kill()
        assert (await ws.until("upstream"))["state"] == "down"
        error = await ws.publish("lamps/1", 1)
        assert (error["code"], error["id"]) == ("upstream_down", 3)
    answer = gateway.post("/channels/lamps/1", b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_down")
    assert answer.headers["Retry-After"]


async def test_queue_while_down(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, broker="  while_down: queue\n").replace("publish_timeout: 3s", "publish_timeout: 8s"))
    async with connect(gateway) as ws:
        broker.kill()
        await ws.until("upstream")
        await ws.send(type="publish", id=1, channel="lamps/queued", data="ON")
        await ws.quiet()
        broker.start()
        frames = []
        while not {"published", "up"} <= {frame.get("state", frame["type"]) for frame in frames}:  # in either order
            frames.append(await ws.recv(30))
        broker.kill()
        assert (await ws.until("upstream"))["state"] == "down"
        await ws.send(type="publish", id=2, channel="lamps/queued", data="ON")
        error = await ws.until("error", 30)  # after publish_timeout, and it will never be sent
        assert error["code"] in ("upstream_down", "timeout") and error["id"] == 2


async def test_sigterm_flushes_publishes(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    async with connect(gateway) as ws:
        broker.freeze()
        await ws.send(type="publish", id=1, channel="lamps/flush", data="ON")
        await ws.quiet()
        loop = asyncio.get_running_loop()
        stopped = loop.run_in_executor(None, gateway.stop)
        wait_until(lambda: "stopping" in gateway.text())
        broker.thaw()
        assert await ws.recv() == {"type": "published", "id": 1}
        await stopped
