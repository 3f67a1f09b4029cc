"""Which web pages may use the gateway: Origin, CORS, headers of the dashboard (issue: Locked doors, 3)."""
import json
import subprocess

import pytest
import requests
from conftest import yaml
from harness import BINARY, free_port, wait_until
from wsclient import dial, refused

pytestmark = pytest.mark.memory

LISTED = "https://dash.example"


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra=f"web: {{ origins: [{LISTED}, \"http://localhost:3000\"] }}\n"))


FOREIGN = ["https://evil.example", "https://dash.example.evil.example", "https://dash.example:8443", "http://dash.example", "null",
           "https://DASH.example", "https://dash.example/", "file://", "", "https://dash.example, https://evil.example"]
DATA = ["/poll?channel=rooms/a/b&wait=0", "/sse?channel=rooms/a/b", "/channels", "/channels/rooms/a/b", "/channels/rooms/a/b/history"]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_pages_are_refused(gateway, origin):
    for path in DATA:
        answer = gateway.get(path, headers={"Origin": origin})
        assert answer.status_code == 403 and answer.json()["code"] == "forbidden"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert gateway.post("/channels/lamps/1", b"ON", headers={"Origin": origin}).status_code == 403
    answer = gateway.raw("/channels/lamps/1", "OPTIONS", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert answer[0] == 403
    for path in ("/ws", "/channels/rooms/a/b"):
        assert await refused(gateway.ws + path, {"Origin": origin}) == 403


STRANGE = ["evil.example", "evil.example:8080", "dash.example.evil.example", "notdash.example", "127.0.0.1.evil.example", "[evil.example]",
           "[::1", "[::1]evil.example", "localhost.evil.example", "dash.example..", "", ".", ":80", "x" * 300]
OURS = ["dash.example", "DASH.example:8443", "dash.example.", "dash.example.:443", "nas", "localhost:3000", "LocalHost", "127.0.0.1", "10.1.2.3:8080",
        "[::1]:8080", "[fe80::1]"]


async def test_hosts(world):
    """A page whose own name resolves to the gateway is of one origin with it: what tells them apart is the name."""
    anybody = world.sluice(yaml(world.broker().port, extra="web: { origins: [] }\n"))
    gateway = world.sluice(yaml(world.broker().port, listen=f"127.0.0.1:{free_port()}", extra="web: { hosts: [dash.example, nas] }\n"))
    for host in STRANGE:
        page = {"Host": host, "Origin": "http://" + host, "Sec-Fetch-Site": "same-origin"}
        for path in DATA + ["/", "/client.js", "/metrics", "/healthz"]:
            answer = gateway.get(path, headers=page)
            # What is no Host at all (RFC 9112, 3.2) does not get as far as the list.
            bad = answer.status_code == 400 and "Host is malformed" in answer.json()["message"]
            assert bad or answer.status_code == 403 and "web.hosts" in answer.json()["message"], (host, path, answer.text)
        assert gateway.post("/channels/lamps/1", b"ON", headers=page).status_code == (400 if bad else 403)
        assert anybody.get("/channels", headers=page).status_code == (400 if bad else 200)
    evil, there = f"//evil.example:{gateway.port}", {"host": "127.0.0.1", "port": gateway.port}
    assert await refused(f"ws:{evil}/ws", {"Origin": f"http:{evil}"}, **there) == 403
    async with dial(f"ws://nas:{gateway.port}/ws", **there) as ws:
        assert json.loads(await ws.recv())["type"] == "welcome"
    for host in OURS:
        assert gateway.get("/channels", headers={"Host": host}).status_code == 200, host
    async with dial(gateway.ws + "/ws") as ws:
        assert json.loads(await ws.recv())["type"] == "welcome"
    assert subprocess.run([BINARY, "healthcheck", "-c", str(gateway.config)], timeout=30).returncode == 0
    # Names change with the file.
    gateway.config.write_text(gateway.config.read_text().replace("dash.example, nas", "other.example"))
    gateway.signal(1)
    wait_until(lambda: gateway.get("/channels", headers={"Host": "other.example"}).status_code == 200, what="the new name")
    assert gateway.get("/channels", headers={"Host": "dash.example"}).status_code == 403
    assert gateway.metric("sluice_forbidden_total") > 100


async def test_own_pages(gateway):
    own = f"http://127.0.0.1:{gateway.port}"
    for origin in (own, own.replace("http", "HTTP")):
        answer = gateway.get("/channels", headers={"Origin": origin})
        assert answer.status_code == 200 and "Access-Control-Allow-Origin" not in answer.headers
    async with dial(gateway.ws + "/ws", origin=own) as ws:
        assert json.loads(await ws.recv())["type"] == "welcome"
    # Behind a proxy that speaks TLS, the page's origin has another scheme and no port.
    for host, origin in (("iot.example", "https://iot.example"), ("iot.example:443", "https://iot.example"),
                         ("iot.example", "http://iot.example:80"), ("iot.example:8443", "https://iot.example:8443")):
        assert gateway.get("/channels", headers={"Host": host, "Origin": origin}).status_code == 200
    # A proxy has put another name into Host; the browser says that it is the page's own address all the same.
    headers = {"Host": "upstream", "Origin": "https://iot.example"}
    for site, status in (("same-origin", 200), ("same-site", 403), ("cross-site", 403), ("none", 403)):
        assert gateway.get("/channels", headers={**headers, "Sec-Fetch-Site": site}).status_code == status
    for host, origin in (("iot.example", "https://iot.example:8443"), ("iot.example", "https://iot.example.evil"), ("iot.example:80", "https://iot.example")):
        assert gateway.get("/channels", headers={"Host": host, "Origin": origin}).status_code == 403


async def test_listed_pages(gateway):
    answer = gateway.get("/channels", headers={"Origin": LISTED})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED and answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Sluice-Cursor" in answer.headers["Access-Control-Expose-Headers"] and "Origin" in answer.headers["Vary"]
    answer = gateway.get("/channels/rooms/no/value", headers={"Origin": LISTED})
    assert answer.status_code == 404 and answer.headers["Access-Control-Allow-Origin"] == LISTED # errors can be read too
    answer = gateway.get("/sse?channel=rooms/a/b", headers={"Origin": LISTED}, stream=True)
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    answer.close()
    assert gateway.post("/channels/lamps/1", b"1", headers={"Origin": LISTED}).headers["Access-Control-Allow-Origin"] == LISTED
    async with dial(gateway.ws + "/ws", origin=LISTED) as ws:
        assert json.loads(await ws.recv())["type"] == "welcome"
    # One request's headers are not the next one's, on the same connection.
    with requests.Session() as session:
        assert "Access-Control-Allow-Origin" in session.get(gateway.http + "/channels", headers={"Origin": LISTED}).headers
        assert "Access-Control-Allow-Origin" not in session.get(gateway.http + "/channels").headers


def test_listed_pages_ask_whether_anybody_is_there(gateway):
    answer = gateway.get("/healthz", headers={"Origin": LISTED})
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == LISTED
    answer = requests.options(gateway.http + "/healthz", timeout=5, headers={
        "Origin": LISTED, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 204 and "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    for path, origin in (("/healthz", "https://evil.example"), ("/metrics", LISTED), ("/readyz", LISTED)):
        answer = gateway.get(path, headers={"Origin": origin})
        assert answer.status_code == 200 and "Access-Control-Allow-Origin" not in answer.headers


def test_preflight(gateway):
    answer = requests.options(gateway.http + "/channels/lamps/1", timeout=5, headers={
        "Origin": LISTED, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 204 and answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert "POST" in answer.headers["Access-Control-Allow-Methods"] and "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert requests.options(gateway.http + "/channels/lamps/1", timeout=5).status_code == 405


def test_any_page(world):
    gateway = world.sluice(yaml(world.broker().port, extra="web: { origins: \"*\" }\n"))
    answer = gateway.get("/channels", headers={"Origin": "https://anybody.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "Access-Control-Allow-Credentials" not in answer.headers


def test_default_is_own_pages_only(sluice):
    assert sluice.get("/channels", headers={"Origin": LISTED}).status_code == 403
    assert sluice.get("/channels", headers={"Origin": sluice.http}).status_code == 200


def test_dashboard_headers(sluice):
    for path in ("/", "/dashboard.js", "/client.js"):
        answer = sluice.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
    text = sluice.get("/").text
    assert "<script>" not in text and " onclick=" not in text and "<style" not in text and " style=" not in text
    # The client is for pages everywhere; a script tag with crossorigin needs leave.
    assert sluice.get("/client.js", headers={"Origin": LISTED}).headers["Access-Control-Allow-Origin"] == "*"
