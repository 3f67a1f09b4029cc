"""Tickets of a cluster: good once, on whichever gateway the load balancer chooses; and what happens while the engine is away."""
import concurrent.futures
import hashlib
import json
import pathlib
import secrets
import sys

import paho.mqtt.client as mqtt
import pytest
import requests
import socketio

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cases
from harness import wait_until
from mqttclients import Paho
from wsclient import Ws, dial, refused

KEY = "slk_" + secrets.token_urlsafe(32)
AUTH = f"""
auth:
  ticket_ttl: 5s
  api_keys:
    - {{ name: kiosk, hash: "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", roles: [viewer] }}
roles:
  viewer: {{ subscribe: "plant/#", history: "plant/#" }}
socketio: true
mqtt: {{}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("tickets"), nodes=3, extra=AUTH) as world:
        yield world


def ticket(node):
    answer = node.post("/ticket", headers={"Authorization": "Bearer " + KEY})
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_in"] == 5
    return answer.json()["ticket"]


def redeem(node, text, session=requests):
    return session.get(f"{node.http}/poll?channel=plant/%23&wait=0&ticket={text}", timeout=15).status_code


def test_one_ticket_tried_on_all_nodes_at_once(world):
    """C13: exactly one of them lets it in, every time."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for i in range(40):
            text = ticket(world.nodes[i % 3])
            answers = list(pool.map(lambda node: redeem(node, text), world.nodes * 2))
            assert sorted(answers) == [204] + [401] * 5, (i, answers)


async def test_over_every_transport_at_another_node(world):
    one, two, three = world.nodes
    async with dial(two.ws + "/ws?ticket=" + ticket(one)) as socket:
        ws = Ws(socket)
        await ws.until("welcome")
        await ws.subscribe("plant/x/t")
    text = ticket(two)
    with requests.get(f"{three.http}/sse?channel=plant/%23&ticket={text}", stream=True, timeout=15) as stream:
        assert stream.status_code == 200
    assert redeem(two, text) == 401 and redeem(one, text) == 401
    # A request with a body, and one behind it on the same connection, while the first waits for the engine.
    with requests.Session() as session:
        answer = session.post(f"{one.http}/channels/plant/x/t?ticket={ticket(three)}", data=b"x" * 5000, timeout=15)
        assert answer.status_code == 403, answer.text  # it may not publish: it was let in, with the rights of its key
        assert session.get(one.http + "/healthz", timeout=15).status_code == 200
    for node, version in ((one, mqtt.MQTTv5), (three, mqtt.MQTTv311)):
        text = ticket(two)
        client = Paho(node, version, client_id="ticket", user="u", password=text)
        client.connected()
        client.client.disconnect()
        client.client.loop_stop()
        again = Paho(two, version, client_id="ticket", user="u", password=text)
        assert again.event("connect")[1] in (4, 134)
        again.client.loop_stop()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
def test_socketio_at_another_node(world, transports):
    one, two, three = world.nodes
    text = ticket(one)
    client = socketio.Client(reconnection=False)
    client.connect(two.http, transports=transports, auth={"ticket": text})
    assert client.call("subscribe", "plant/#", timeout=20)["status"] == "subscribed"
    client.disconnect()
    errors, other = [], socketio.Client(reconnection=False)
    other.on("connect_error", errors.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        other.connect(three.http, transports=transports, auth={"ticket": text}, wait_timeout=0.5)
    assert errors and errors[0]["data"]["code"] == "unauthorized"


async def test_what_is_no_ticket_costs_the_engine_nothing(world):
    node = world.nodes[0]
    redeem(node, "x" * 43)  # one that might be: the engine is asked
    before = commands(world)
    for text in ("", "x", "x" * 42, "x" * 44, "%00" * 43):
        assert redeem(node, text) == 401
    assert commands(world) == before
    assert redeem(node, "x" * 43) == 401 and commands(world) == before + 1
    assert await refused(f"{node.ws}/sse?ticket=" + "y" * 43) == 401


def commands(world):
    stats = world.redis.ask("INFO", "commandstats")
    line = next((line for line in stats.splitlines() if line.startswith("cmdstat_getdel:")), "calls=0,")
    return int(line.split("calls=")[1].split(",")[0])


def test_they_expire_at_the_engine(world):
    text = ticket(world.nodes[0])
    keys = world.redis.ask("--raw", "KEYS", "{test}:c:t:*").split()
    assert len(keys) == 1 and hashlib.sha256(text.encode()).hexdigest() in keys[0]
    stored = json.loads(world.redis.ask("--raw", "GET", keys[0]))
    assert stored["name"] == "kiosk" and text not in str(stored) and KEY not in str(stored)
    assert 0 < int(world.redis.ask("PTTL", keys[0])) <= 5000
    world.redis.ask("PEXPIRE", keys[0], "1")
    wait_until(lambda: redeem(world.nodes[1], text) == 401, what="its end")


async def test_the_engine_away(world):
    """Clients hear that it is not their fault; tokens and keys still count; a ticket of before is good again after."""
    one, two, _ = world.nodes
    text = ticket(one)
    world.redis.signal(19)  # SIGSTOP: worse than gone, since nothing says so
    try:
        answer = one.post("/ticket", headers={"Authorization": "Bearer " + KEY})
        assert answer.status_code == 503 and answer.json()["code"] == "overloaded" and "engine" in answer.json()["message"]
        assert answer.headers["Retry-After"] == "1"
        assert await refused(f"{two.ws}/ws?ticket={text}") == 503
        assert two.get("/channels", headers={"Authorization": "Bearer " + KEY}).status_code == 200
        client = Paho(two, client_id="away", user="u", password=text)
        assert client.event("connect")[1] == 0x88
        client.client.loop_stop()
        other, errors = socketio.Client(reconnection=False), []
        other.on("connect_error", errors.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            other.connect(two.http, transports=["websocket"], auth={"ticket": text}, wait_timeout=5)
        assert errors[0]["data"]["code"] == "overloaded"
    finally:
        world.redis.signal(18)
    for node in world.nodes:
        node.wait_ready()
    wait_until(lambda: one.post("/ticket", headers={"Authorization": "Bearer " + KEY}).status_code == 200, what="tickets again")
    assert redeem(two, ticket(one)) == 204
    # A client that goes while its ticket is on its way, and a gateway that stops.
    world.redis.signal(19)
    try:
        with pytest.raises(requests.Timeout):
            requests.get(f"{one.http}/poll?channel=plant/%23&wait=0&ticket={'z' * 43}", timeout=0.1)
        one.stop(20)
    finally:
        world.redis.signal(18)
