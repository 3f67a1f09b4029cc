"""What clients may do: roles, claims, projections; what nobody learns (issue: Locked doors, 2 and 8)."""
import json
import subprocess

import pytest
from harness import BINARY, wait_until
from locked import Doors
from test_auth import code
from test_sse import Stream
from wsclient import Ws, closed, dial, refused

pytestmark = pytest.mark.memory


@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, jwt_extra="    permissions_claim: may\n"))
    return doors


class session:
    """async with session(doors, roles) as ws"""

    def __init__(self, doors, *roles, **claims):
        self.inner = dial(doors.gateway.ws + "/ws", doors.bearer(*roles, **claims))

    async def __aenter__(self):
        ws = Ws(await self.inner.__aenter__())
        await ws.until("welcome")
        return ws

    async def __aexit__(self, *args):
        return await self.inner.__aexit__(*args)


BEYOND = ["#", "+/#", "+", "+/+/+", "rooms", "secret/#", "secret/a", "plants/#", "plants/+/x/y", "$SYS/#", "lamps/#", "lamps/1/2", "no/such/channel"]


@pytest.mark.parametrize("filter", BEYOND)
async def test_filters_beyond_the_grant(doors, filter):
    """The same word on every transport, whether there is such a channel or not."""
    gateway, headers = doors.gateway, doors.bearer("switcher" if filter == "rooms" else "viewer")
    async with session(doors, "switcher" if filter == "rooms" else "viewer") as ws:
        await ws.send(type="subscribe", id=1, channel=filter)
        assert (await ws.until("error"))["code"] == "forbidden"
        await ws.quiet()
    quoted = filter.replace("+", "%2B").replace("#", "%23")
    assert code(gateway.get(f"/poll?channel={quoted}&wait=0", headers=headers), 403) == "forbidden"
    assert code(gateway.get(f"/sse?channel={quoted}", headers=headers), 403) == "forbidden"
    assert await refused(f"{gateway.ws}/channels/{quoted}", headers) == 403


def test_one_channel_too_many_refuses_the_whole_request(doors):
    answer = doors.gateway.get("/poll?channel=rooms/k/t&channel=secret/x&wait=0", headers=doors.bearer("viewer"))
    assert code(answer, 403) == "forbidden"


async def test_nobody_learns_what_exists(doors, client):
    gateway, headers = doors.gateway, doors.bearer("viewer")
    client.publish("secret/plans", "1")
    client.publish("rooms/a/t", "1")
    wait_until(lambda: gateway.get("/channels/secret/plans", headers=doors.bearer("admin")).status_code == 200)
    answers = {}
    for name in ("secret/plans", "secret/nothing", "not/routed"):
        answers[name] = [gateway.get(f"/channels/{name}", headers=headers), gateway.get(f"/channels/{name}/history", headers=headers),
                         gateway.post(f"/channels/{name}", b"1", headers=headers)]
    texts = {tuple((a.status_code, a.text) for a in each) for each in answers.values()}
    assert len(texts) == 1 and texts.pop()[0][0] == 403
    listed = gateway.get("/channels", headers=headers).json()["channels"]
    assert "rooms/a/t" in [c["channel"] for c in listed]
    assert all(c["channel"].startswith(("rooms/", "lamps/")) and not c["publish"] for c in listed)
    everything = gateway.get("/channels?filter=%23", headers=headers).json()["channels"]
    assert [c["channel"] for c in everything] == [c["channel"] for c in listed]
    admin = gateway.get("/channels", headers=doors.bearer("admin")).json()["channels"]
    assert "secret/plans" in [c["channel"] for c in admin]
    async with session(doors, "viewer") as ws:
        for id, name in enumerate(answers):
            await ws.send(type="subscribe", id=id, channel=name)
            one = await ws.until("error")
            await ws.send(type="publish", id=id, channel=name, data=1)
            two = await ws.until("error")
            assert (one["code"], two["code"]) == ("forbidden", "forbidden")


def test_publishing_to_what_is_read_only(doors):
    gateway = doors.gateway
    assert code(gateway.post("/channels/lamps/1", b"ON", headers=doors.bearer("viewer")), 403) == "forbidden"
    assert gateway.post("/channels/lamps/1", b"ON", headers=doors.bearer("switcher")).status_code == 200
    assert code(gateway.post("/channels/lamps/1?reply=1s", b"ON", headers=doors.bearer("viewer")), 403) == "forbidden"
    # A grant is no route: where the route has no publish, nobody may.
    assert code(gateway.post("/channels/rooms/k/t", b"1", headers=doors.bearer("admin")), 403) == "forbidden"
    listed = gateway.get("/channels?filter=lamps/1", headers=doors.bearer("viewer", "switcher")).json()["channels"]
    assert [c["publish"] for c in listed] == [True]


async def test_raw_socket_that_may_only_read(doors):
    async with dial(doors.gateway.ws + "/channels/lamps/9", doors.bearer("viewer")) as socket:
        await socket.send("ON")
        code, reason = await closed(socket)
        assert code == 1008 and reason.startswith("forbidden")


INJECTIONS = ["#", "+", "north/x", "", "north/#", ["#", "+"], {"a": 1}, None, True]


@pytest.mark.parametrize("site", INJECTIONS, ids=repr)
def test_claims_bring_no_wildcards(doors, site):
    headers = doors.bearer("site", site=site)
    for filter in ("plants/%23", "plants/%2B/t/1", "plants/north/t/1", "%23"):
        assert code(doors.gateway.get(f"/poll?channel={filter}&wait=0", headers=headers), 403) == "forbidden"


def test_claims_fill_templates(doors, client):
    gateway = doors.gateway
    north = doors.bearer("site", site="north")
    assert gateway.get("/poll?channel=plants/north/%23&wait=0", headers=north).status_code == 204
    assert code(gateway.get("/poll?channel=plants/south/%23&wait=0", headers=north), 403) == "forbidden"
    assert gateway.post("/channels/plants/north/lamps/1", b"1", headers=north).status_code == 200
    assert code(gateway.post("/channels/plants/south/lamps/1", b"1", headers=north), 403) == "forbidden"
    both = doors.bearer("site", site=["north", "south", 7])
    for site in ("north", "south", "7"):
        assert gateway.get(f"/poll?channel=plants/{site}/%23&wait=0", headers=both).status_code == 204


def test_permissions_in_the_token(doors):
    headers = doors.bearer(may={"subscribe": ["public/#"], "publish": ["lamps/7"], "history": []})
    gateway = doors.gateway
    assert gateway.get("/poll?channel=public/%23&wait=0", headers=headers).status_code == 204
    assert gateway.post("/channels/lamps/7", b"1", headers=headers).status_code == 200
    assert code(gateway.post("/channels/lamps/8", b"1", headers=headers), 403) == "forbidden"
    assert code(gateway.get("/channels/public/x/history", headers=headers), 403) == "forbidden"
    for may in ("nonsense", ["#"], {"subscribe": "a/#/b"}, {"subscribe": [5]}, {"subscribe": {"a": "#"}}):
        assert code(gateway.get("/poll?channel=%23&wait=0", headers=doors.bearer(may=may)), 403) == "forbidden"


def test_live_only(doors, client):
    gateway, headers = doors.gateway, doors.bearer("live")
    start = gateway.get("/poll?channel=rooms/live/t&wait=0", headers=headers).headers["Sluice-Cursor"]
    for number in range(3):
        client.publish("rooms/live/t", str(number))
    wait_until(lambda: gateway.get("/channels/rooms/live/t", headers=headers).json().get("data") == 2)
    assert code(gateway.get("/channels/rooms/live/t/history", headers=headers), 403) == "forbidden"
    answer = gateway.get("/poll", params={"channel": "rooms/live/t", "cursor": start, "wait": 5}, headers=headers).json()
    assert [m["data"] for m in answer["messages"]] == [2]
    assert [g["reason"] for g in answer["gaps"]] == ["history"]


async def test_projection_on_every_transport(doors, client):
    gateway, headers = doors.gateway, doors.bearer("some")
    payload = '{"t":21.5,"key":"hidden","h":[1,{"key":2}],"T":0}'
    seen = {"t": 21.5, "h": [1, {"key": 2}]}
    cursor = gateway.get("/poll?channel=rooms/p/x&wait=0", headers=headers).headers["Sluice-Cursor"]
    stream = Stream(gateway, "?channel=rooms/p/x", headers=headers)
    async with session(doors, "some") as ws, session(doors, "viewer") as full, \
            dial(gateway.ws + "/channels/rooms/p/x", headers) as raw:
        await ws.subscribe("rooms/p/x")
        await full.subscribe("rooms/p/x")
        client.publish("rooms/p/x", payload)
        assert (await ws.until("message"))["data"] == seen
        assert (await full.until("message"))["data"] == json.loads(payload)
        assert json.loads(await raw.recv()) == seen
        assert stream.message()["data"] == seen
        await ws.subscribe("rooms/p/x", id=2)
        assert (await ws.until("message"))["data"] == seen
    stream.close()
    assert gateway.get("/channels/rooms/p/x", headers=headers).json()["data"] == seen
    assert gateway.get("/channels/rooms/p/x/history", headers=headers).json()["messages"][0]["data"] == seen
    answer = gateway.get("/poll", params={"channel": "rooms/p/x", "cursor": cursor, "wait": 5}, headers=headers)
    assert answer.json()["messages"][0]["data"] == seen and "hidden" not in answer.text
    client.publish("rooms/p/x", "no object")
    wait_until(lambda: gateway.get("/channels/rooms/p/x", headers=headers).json()["data"] is None)
    # One role that sees all of it is enough.
    assert gateway.get("/channels/rooms/p/x", headers=doors.bearer("some", "viewer")).json()["data"] == "no object"


def test_explain_as(doors):
    def explain(*args, stdin=None):
        return subprocess.run([BINARY, "explain", "-c", str(doors.gateway.config), *args], capture_output=True, text=True, timeout=30, input=stdin)
    token = doors.token("site", "some", site="north", sub="anna")
    result = explain("--as", token, "--channel", "plants/north/lamps/1")
    assert result.returncode == 0
    assert "as 'anna' (token, until 2" in result.stdout
    assert "subscribe allowed by 'plants/north/#'" in result.stdout
    assert "publish   allowed by 'plants/north/lamps/+'" in result.stdout
    assert "refused: no grant contains it" in explain("--as", token, "--channel", "secret/x").stdout
    assert "allowed by 'rooms/#', some fields only" in explain("--as", token, "--topic", "rooms/k/t").stdout
    assert "plants/north/#" in explain("--as", "-", stdin=token + "\n").stdout
    for bad in ("nonsense", "anonymous", doors.token("site", lifetime=-60)):
        result = explain("--as", bad, "--channel", "x")
        assert result.returncode == 2 and ("unauthorized" in result.stderr or "expired" in result.stderr)
