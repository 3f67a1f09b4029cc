"""Who is let in: tokens, keys, tickets, cookies, anonymous; hello, expiry (issue: Locked doors, 1)."""
import asyncio
import time

import jwt
import pytest
from harness import wait_until
from locked import Doors
from test_sse import Stream
from wsclient import Ws, closed, connect, dial, refused

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port, auth="  cookie: token\n  hello_timeout: 1s\n  ticket_ttl: 1s\n"
                                             "  expiry_warning: 60s\n",
                                             jwt_extra="    audience: sluice\n    issuer: https://id.example\n    leeway: 0s\n",
                                             extra="log: { level: debug }\n"))
    token = doors.token
    doors.token = lambda *roles, **claims: token(*roles, **{"aud": "sluice", "iss": "https://id.example", **claims})
    return doors


def code(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["code"]


GOOD = "/channels/rooms/k/t"


def test_nothing_without_credentials(doors):
    gateway = doors.gateway
    for path in ("/channels", GOOD, GOOD + "/history", "/poll?channel=rooms/%23&wait=0", "/sse?channel=rooms/%23", "/channels/no/such"):
        answer = gateway.get(path)
        assert code(answer, 401) == "unauthorized" and answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert code(gateway.post("/channels/lamps/1", b"ON"), 401) == "unauthorized"
    assert code(gateway.post("/ticket"), 401) == "unauthorized"
    for path in ("/healthz", "/readyz", "/metrics", "/", "/client.js"):
        assert gateway.get(path).status_code == 200


def test_bearer_and_api_key(doors, client):
    client.publish("rooms/k/t", "21")
    gateway = doors.gateway
    wait_until(lambda: gateway.get(GOOD, headers=doors.bearer("viewer")).json().get("data") == 21)
    for headers in (doors.bearer("viewer"), {"Authorization": "bearer " + doors.key}):
        assert gateway.get(GOOD, headers=headers).json()["data"] == 21
        assert gateway.get(GOOD + "/history", headers=headers).status_code == 200
        assert gateway.get("/poll?channel=rooms/%2B/t&cursor=last", headers=headers).status_code == 200


REFUSED = {
    "expired": lambda d: d.token("viewer", lifetime=-5),
    "not yet valid": lambda d: d.token("viewer", nbf=time.time() + 60),
    "no expiry": lambda d: d.token("viewer", exp=None),
    "wrong key": lambda d: d.token("viewer", key="x" * 64),
    "wrong audience": lambda d: d.token("viewer", aud="other"),
    "no audience": lambda d: d.token("viewer", aud=None),
    "wrong issuer": lambda d: d.token("viewer", iss="https://evil.example"),
    "none": lambda d: jwt.encode({"sub": "x", "exp": time.time() + 60, "roles": ["admin"]}, None, "none"),
    "another algorithm's word": lambda d: d.token("viewer").replace("eyJ", "eyK", 1),
    "no signature": lambda d: d.token("viewer").rsplit(".", 1)[0] + ".",
    "two parts": lambda d: d.token("viewer").rsplit(".", 1)[0],
    "other payload": lambda d: ".".join([d.token("viewer").split(".")[0], d.token("admin").split(".")[1], d.token("viewer").split(".")[2]]),
    "unknown key": lambda d: "slk_" + "A" * 43,
    "half a key": lambda d: d.key[:-1],
    "empty": lambda d: "",
    "huge": lambda d: "a" * 9000 + "." + "b" * 10 + "." + "c",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(doors, name):
    token, gateway = REFUSED[name](doors), doors.gateway
    before = gateway.metric("sluice_auth_failures_total")
    answer = gateway.get(GOOD, headers={"Authorization": "Bearer " + token})
    assert code(answer, 401) == ("expired" if name == "expired" else "unauthorized")
    if token:
        assert gateway.metric("sluice_auth_failures_total") > before
        assert token not in answer.text and token not in gateway.text()

    async def hello():
        async with connect(gateway) as ws:
            await ws.send(type="hello", id=1, token=token)
            error = await ws.until("error")
            assert error["code"] in ("expired", "unauthorized") and error["id"] == 1
            assert (await closed(ws.socket))[0] == 4401
    asyncio.run(hello())


async def test_hello(doors, client):
    gateway = doors.gateway
    async with connect(gateway) as ws:
        await ws.send(type="subscribe", id=1, channel="rooms/#")
        assert (await ws.until("error"))["code"] == "unauthorized"
        await ws.send(type="publish", id=2, channel="lamps/1", data=1)
        assert (await ws.until("error"))["code"] == "unauthorized"
        await ws.send(type="hello", id=3, token=doors.token("viewer", sub="anna"))
        hello = await ws.until("hello")
        assert hello["id"] == 3 and hello["subject"] == "anna" and hello["expires"] > time.time() * 1000
        await ws.subscribe("rooms/hello/t")
        client.publish("rooms/hello/t", "1")
        assert (await ws.until("message"))["data"] == 1
        await ws.send(type="hello", id=4)
        assert (await ws.until("hello"))["subject"] == "anna"
        # A bad one changes nothing for one who is known.
        await ws.send(type="hello", id=5, token="nonsense")
        assert (await ws.until("error"))["code"] == "unauthorized"
        await ws.quiet()


async def test_hello_in_time_or_closed(doors):
    async with connect(doors.gateway) as ws:
        started = time.monotonic()
        assert (await closed(ws.socket))[0] == 4401 and 0.8 < time.monotonic() - started < 4
    async with dial(doors.gateway.ws + "/ws", doors.bearer("viewer")) as socket:
        ws = Ws(socket)
        await ws.until("welcome")
        with pytest.raises(asyncio.TimeoutError):
            await ws.recv(1.5)


@pytest.mark.parametrize("path", ["/ws", GOOD])
async def test_handshake_with_bad_token(doors, path):
    assert await refused(doors.gateway.ws + path, {"Authorization": "Bearer nonsense"}) == 401


def ticket(doors, *roles, **claims):
    answer = doors.gateway.post("/ticket", headers=doors.bearer(*roles, **claims))
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 1 and len(answer.json()["ticket"]) == 43
    return answer.json()["ticket"]


async def test_tickets(doors, client):
    gateway = doors.gateway
    one = ticket(doors, "viewer", sub="anna")
    async with dial(gateway.ws + "/ws?ticket=" + one) as socket:
        ws = Ws(socket)
        await ws.until("welcome")
        await ws.send(type="hello", id=1)
        assert (await ws.until("hello"))["subject"] == "anna"
        await ws.subscribe("rooms/ticket/t")
    # It is used up.
    async with dial(gateway.ws + "/ws?ticket=" + one) as socket:
        assert (await closed(socket))[0] == 4401
    assert code(gateway.get("/sse?channel=rooms/%23&ticket=" + one), 401) == "unauthorized"
    stream = Stream(gateway, "?channel=rooms/%23&ticket=" + ticket(doors, "viewer"))
    stream.close()
    # Too old.
    old = ticket(doors, "viewer")
    wait_until(lambda: gateway.get("/poll?channel=rooms/%23&wait=0", headers=doors.bearer("viewer")).status_code == 204)
    await asyncio.to_thread(wait_until, lambda start=time.monotonic(): time.monotonic() - start > 1.2)
    assert code(gateway.get("/poll?channel=rooms/%23&wait=0&ticket=" + old), 401) == "expired"
    assert one not in gateway.text() and old not in gateway.text()


def test_cookie(doors):
    gateway = doors.gateway
    cookie = {"Cookie": "a=b; token=" + doors.token("switcher") + "; c=d"}
    assert gateway.get("/poll?channel=lamps/%2B&wait=0", headers=cookie).status_code == 204
    assert code(gateway.get(GOOD, headers=cookie), 403) == "forbidden"
    # A page elsewhere makes the browser send the cookie too.
    assert code(gateway.post("/channels/lamps/1", b"1", headers=cookie), 401) == "unauthorized"
    assert gateway.post("/channels/lamps/1", b"1", headers=dict(cookie, Origin=gateway.http)).status_code == 200
    assert gateway.post("/channels/lamps/1", b"1", headers={**cookie, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert code(gateway.post("/channels/lamps/1", b"1", headers=dict(cookie, Origin="https://evil.example")), 403) == "forbidden"
    assert code(gateway.get("/poll?channel=lamps/1&wait=0", headers={"Cookie": "token=stale"}), 401) == "unauthorized"


async def test_expiry_on_websockets(doors, client):
    async with connect(doors.gateway) as ws:
        await ws.send(type="hello", id=1, token=doors.token("viewer", lifetime=3))
        expires = (await ws.until("hello"))["expires"]
        assert (await ws.until("expiring"))["expires"] == expires
        await ws.subscribe("rooms/expiry/t")
        await ws.send(type="hello", id=2, token=doors.token("viewer", lifetime=4))
        assert (await ws.until("hello"))["expires"] > expires
        await ws.until("expiring")
        code, reason = await closed(ws.socket)
        assert code == 4401 and reason.startswith("expired")
        assert time.time() * 1000 > expires


def test_expiry_of_streams_and_polls(doors):
    stream = Stream(doors.gateway, "?channel=rooms/%23&ticket=" + ticket(doors, "viewer", lifetime=2))
    names = []
    while event := stream.event():
        names.append((event[0], event[1].get("code")))
    assert names[-2:] == [("expiring", None), ("error", "expired")]
    answer = doors.gateway.get("/poll?channel=rooms/none/x&wait=20", headers=doors.bearer("viewer", lifetime=2))
    assert code(answer, 401) == "expired"


def test_anonymous(world):
    broker = world.broker()
    doors = Doors(world.directory)
    gateway = world.sluice(doors.yaml(broker.port, auth="  anonymous: [guest]\n  cookie: token\n"))
    client = world.mqtt(broker.port)
    client.publish("public/a", "1")
    wait_until(lambda: gateway.get("/channels/public/a").status_code == 200)
    assert code(gateway.get(GOOD), 403) == "forbidden"
    assert code(gateway.post("/ticket"), 401) == "unauthorized"
    assert gateway.get("/channels/public/a", headers={"Cookie": "token=stale"}).status_code == 200
    assert code(gateway.get("/channels/public/a", headers={"Authorization": "Bearer stale"}), 401) == "unauthorized"

    async def session():
        async with connect(gateway) as ws:
            assert (await ws.subscribe("public/#"))["snapshot"] == 1
            assert (await ws.until("message"))["data"] == 1
            await ws.send(type="subscribe", id=2, channel="rooms/#")
            assert (await ws.until("error"))["code"] == "forbidden"
            await ws.send(type="hello", id=3, token=doors.token("viewer"))
            await ws.until("hello")
            # Another identity: what it may not see ends.
            gone = await ws.until("unsubscribed")
            assert gone["channel"] == "public/#" and gone["code"] == "forbidden" and "id" not in gone
            await ws.subscribe("rooms/#")
    asyncio.run(session())


def test_no_auth_takes_any_header(sluice):
    assert sluice.get("/poll?channel=rooms/x/y&wait=0", headers={"Authorization": "Basic eDp5", "Cookie": "token=x"}).status_code == 204
    assert code(sluice.post("/ticket"), 404) == "not_found"
