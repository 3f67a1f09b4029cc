"""Idempotency keys of publishes: a repeat is not published again and gets the same receipt, over every transport and worker."""
import asyncio
import concurrent.futures
import uuid

import pytest
import requests
from conftest import yaml
from harness import wait_until
from locked import Doors
from wsclient import connect

pytestmark = pytest.mark.sanitize

ROUTES = """
  - topic: z2m/{id}
    channel: lamps/{id}
    codec: json
    publish: { topic: "z2m/{id}/set", confirm: { field: /state, within: 2s } }
  - topic: shellies/{id}/relay/0
    publish: { topic: "shellies/{id}/relay/0/command", qos: 0, confirm: { within: 2s } }
"""
EXTRA = """
workers: 2
auth:
  anonymous: all
  api_keys:
    - { name: other, hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", roles: all }
    - { name: anonymous, hash: "sha256:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4", roles: all }
roles: { all: { subscribe: "#", publish: "#" } }
limits: { idempotency_keys: 50 }
"""


def post(gateway, channel, data, key, query="", **headers):
    return requests.post(f"{gateway.http}/channels/{channel}{query}", data=data, timeout=10,
                         headers={"Idempotency-Key": key, **headers})


def sent(devices, name):
    return [payload for topic, payload in devices.commands if topic.split("/")[1] == name]


def new():
    return str(uuid.uuid4())


@pytest.mark.parametrize("quotes", ["%s", '"%s"'])
@pytest.mark.parametrize("query,status,result", [("", 200, "published"), ("?confirm=true", 200, "confirmed")])
def test_a_repeat_gets_the_same_receipt(hall, quotes, query, status, result):
    gateway, devices = hall
    name, key = f"same{new()}", quotes % new()
    answers = [post(gateway, f"lamps/{name}", '{"state":"ON"}', key, query) for _ in range(5)]  # over both workers
    assert {(answer.status_code, answer.text) for answer in answers} == {(status, answers[0].text)}
    assert answers[0].json()["status"] == result
    wait_until(lambda: sent(devices, name))
    assert post(gateway, f"lamps/{name}", '{"state":"OFF"}', new(), "?confirm=true").ok
    assert sent(devices, name) == ['{"state":"ON"}', '{"state":"OFF"}']


def test_repeats_while_the_first_is_under_way(hall):
    gateway, devices = hall
    name, key = f"late{new()}", new()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(gateway, f"lamps/{name}", '{"state":"ON"}', key, "?confirm=true"), range(8)))
    assert len({answer.text for answer in answers}) == 1 and answers[0].json()["status"] == "confirmed"
    assert len(sent(devices, name)) == 1
    name, key = f"wrong{new()}", new()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(gateway, f"lamps/{name}", '{"state":"ON"}', key, "?confirm=true"), range(4)))
    assert {answer.json()["status"] for answer in answers} == {"timeout"} and len(sent(devices, name)) == 1
    assert {answer.json()["data"]["state"] for answer in answers} == {"OFF"}


def test_at_qos_0(hall):
    gateway, devices = hall
    key, name = new(), f"s{new()}"
    assert [post(gateway, f"shellies/{name}/relay/0", "on", key).json() for _ in range(3)] == [{"status": "accepted"}] * 3
    key = new()
    answers = [post(gateway, f"shellies/{name}/relay/0", "off", key, "?confirm=1").json() for _ in range(3)]
    assert answers[0]["status"] == "confirmed" and answers[1:] == answers[:1] * 2
    assert sent(devices, name) == ["on", "off"]


def test_a_key_is_for_one_publish_of_one_client(hall):
    gateway, devices = hall
    name, key = f"one{new()}", new()
    assert post(gateway, f"lamps/{name}", '{"state":"ON"}', key).ok
    for data, query in [('{"state":"OFF"}', ""), ('{"state":"ON"}', "?confirm=true")]:
        answer = post(gateway, f"lamps/{name}", data, key, query)
        assert answer.status_code == 400 and "idempotency key" in answer.json()["message"]
    assert post(gateway, f"lamps/{name}", '{"state":"OFF"}', key, Authorization="Bearer test").ok  # another identity
    assert post(gateway, f"lamps/{name}-2", '{"state":"OFF"}', key).ok  # another channel
    for bad in ('""', "x" * 256):
        assert post(gateway, f"lamps/{name}", "{}", bad).json()["code"] == "bad_request"
    assert post(gateway, f"lamps/{name}", "{}", new(), "?reply=1s").json()["code"] == "bad_request"
    wait_until(lambda: len(sent(devices, name)) == 2)


def test_a_key_that_is_called_as_those_without_credentials_is_another_identity(hall):
    gateway, devices = hall
    name, key = f"called{new()}", new()
    assert post(gateway, f"lamps/{name}", '{"state":"ON"}', key).ok
    assert post(gateway, f"lamps/{name}", '{"state":"OFF"}', key, Authorization="Bearer second").ok
    wait_until(lambda: len(sent(devices, name)) == 2)


def test_over_websocket_and_when_the_first_client_has_left(hall):
    gateway, devices = hall
    name, key = f"late{new()}", new()
    frame = {"type": "publish", "id": 1, "channel": f"lamps/{name}", "data": {"state": "ON"}, "confirm": True,
             "idempotency_key": key}

    async def receipts():
        async with connect(gateway) as ws:
            await ws.send(**frame)
            return [await ws.recv(), await ws.recv()]

    async def leave():
        async with connect(gateway) as ws:
            await ws.send(**frame)
            assert (await ws.recv())["type"] == "published"  # and is gone before the device answers
    asyncio.run(leave())
    first = asyncio.run(receipts())
    assert [receipt["type"] for receipt in first] == ["published", "confirmed"]
    assert asyncio.run(receipts()) == first
    assert len(sent(devices, name)) == 1


def test_a_repeat_shows_nothing_that_its_client_may_not_see(hall, world):
    """Tokens of one subject may have different roles."""
    doors = Doors(world.directory)
    roles = 'roles: { sees: { subscribe: "#", publish: "#" }, blind: { publish: "#" } }\n'
    gateway = world.sluice(doors.yaml(hall[0].broker.port, roles=roles, routes=ROUTES, key=False))
    name, key = f"wrong{new()}", new()
    first, again, other = [post(gateway, f"lamps/{name}", '{"state":"ON"}', key, "?confirm=true", **doors.bearer(role)).json()
                           for role in ("sees", "sees", "blind")]
    assert first["status"] == "timeout" and first["data"]["state"] == "OFF" and again == first
    assert other == {"status": "timeout"}
    assert len(sent(hall[1], name)) == 1


def test_the_table_is_bounded_and_forgets(hall, world):
    gateway, devices = hall
    name, key = f"many{new()}", new()
    assert post(gateway, f"lamps/{name}", '{"state":"ON"}', key).ok
    for _ in range(50):  # limits.idempotency_keys: the oldest goes
        assert post(gateway, f"lamps/{name}", '{"state":"OFF"}', new()).ok
    assert post(gateway, f"lamps/{name}", '{"state":"ON"}', key).ok
    wait_until(lambda: len(sent(devices, name)) == 52)
    name = f"window{new()}"
    soon = world.sluice(yaml(gateway.broker.port, ROUTES, extra="limits: { idempotency_window: 1s }"))

    def again():
        assert post(soon, f"lamps/{name}", '{"state":"ON"}', key).ok
        return len(sent(devices, name)) >= 2
    wait_until(again)
    repeats = next(line for line in gateway.get("/metrics").text.splitlines() if line.startswith("sluice_publish_repeats_total "))
    assert int(repeats.split()[1]) > 0


def test_what_took_no_effect_is_not_remembered_and_the_unknown_is(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, ROUTES))
    none, unknown = new(), new()
    broker.freeze()
    answer = post(gateway, "lamps/x", "{}", unknown)
    assert answer.json()["code"] == "timeout"
    broker.thaw()
    broker.kill()
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    assert post(gateway, "lamps/x", "{}", none).json()["code"] == "upstream_down"  # at once: nothing was sent
    broker.start()
    wait_until(lambda: gateway.get("/readyz").status_code == 200)
    assert post(gateway, "lamps/x", "{}", none).json() == {"status": "published"}
    assert post(gateway, "lamps/x", "{}", unknown).json()["code"] == "timeout"
