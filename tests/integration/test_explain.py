"""GET /explain over HTTP: what it says, to whom, and what it says of rubbish; and who may publish at all."""
import subprocess
import urllib.parse

import pytest
from harness import BINARY
from locked import Doors
from test_auth import code

pytestmark = pytest.mark.memory


@pytest.fixture(scope="module")
def doors(shared):
    doors = Doors(shared.directory)
    doors.gateway = shared.sluice(doors.yaml(shared.main_broker.port))
    return doors


def test_says_what_the_command_says(doors):
    admin = doors.bearer("admin")
    for channel in ["plants/b1/lamps/7", "lamps/1", "nowhere/at/all/x/y", "a b&c=d?/ü\"\\", "public//x/", "x/history"]:
        answer = doors.gateway.get("/explain?channel=" + urllib.parse.quote(channel, safe=""), headers=admin)
        body = answer.json()
        said = subprocess.run([BINARY, "explain", "-c", doors.gateway.config, "--channel", channel], capture_output=True, text=True)
        assert body["text"] == said.stdout, said.stderr
        assert body["channel"] == channel and answer.headers["content-type"].startswith("application/json")
        assert len(body["routes"]) == said.stdout.count(": matches")
    [route] = doors.gateway.get("/explain?channel=lamps/1", headers=admin).json()["routes"]
    assert route["topic"] == "lamps/{id}" and route["publish"] == "lamps/{id}" and "channel" not in route and route["line"] > 1
    assert "publish" not in doors.gateway.get("/explain?channel=rooms/k/t", headers=admin).json()["routes"][0]


def test_all_routes_and_the_broker(doors):
    body = doors.gateway.get("/explain", headers=doors.bearer("admin")).json()
    assert body["broker"].startswith("mqtt://127.0.0.1:") and set(body) == {"broker", "routes"}
    assert [route["topic"] for route in body["routes"]][:2] == ["plants/{site}/{kind}/{id}", "plants/{site}/{kind}/{id}/set"]


@pytest.mark.parametrize("role", ["viewer", "switcher", "site", "live", "some", "guest"])
def test_only_for_those_who_see_everything(doors, role):
    headers = doors.bearer(role, site="b1")
    for query in ["", "?channel=rooms/k/t", "?channel=secret/x", "?channel=no/such", "?channel=%2B"]:
        assert code(doors.gateway.get("/explain" + query, headers=headers), 403) == "forbidden"
    assert code(doors.gateway.get("/explain"), 401) == "unauthorized"


@pytest.mark.parametrize("query", ["?channel=", "?channel=a/%2B", "?channel=%23", "?channel=%00", "?channel=%FF"])
def test_rubbish(doors, query):
    assert code(doors.gateway.get("/explain" + query, headers=doors.bearer("admin")), 400) == "bad_request"


def test_without_doors_everybody_may_ask(sluice):
    assert sluice.get("/explain").json()["routes"]
    answer = sluice.post("/explain")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"
    assert sluice.get("/channels?filter=$none").json()["publish"] is True


@pytest.mark.parametrize("role, may", [("viewer", False), ("some", False), ("guest", False), ("switcher", True), ("site", True), ("admin", True)])
def test_may_this_client_publish_at_all(doors, role, may):
    body = doors.gateway.get("/channels?filter=$none", headers=doors.bearer(role, site="b1")).json()
    assert body["publish"] is may and body["channels"] == []


def test_nobody_may_where_no_route_takes_it(shared):
    gateway = shared.sluice("broker: { url: mqtt://127.0.0.1:%d }\nlisten: [{ address: 127.0.0.1:0 }]\nroutes: [{ topic: a/# }]\n" % shared.main_broker.port)
    assert gateway.get("/channels").json()["publish"] is False


@pytest.mark.parametrize("preset, says", [
    ("sluice", 'event "message" with {"channel":"rooms/a","data":VALUE,…}'),
    ("mqtt", 'event "mqtt" with {"topic":"rooms/a","payload":TEXT}'),
    ("flask", 'event "mqtt_message" with {"topic":"rooms/a","payload":TEXT}'),
    ("topic", 'event "rooms/a" with TEXT'),
    ("mqtt, events: { message: news }, payload: json, members: { data: message }", 'event "news" with {"topic":"rooms/a","message":VALUE}')])
def test_what_socketio_pages_get(tmp_path, preset, says):
    file = tmp_path / "sluice.yaml"
    text = 'broker: { url: "mqtt://h" }\nroutes: [{ topic: "in/{x}", channel: "rooms/{x}" }]\n'
    file.write_text(text + f"socketio: {{ preset: {preset} }}\n")
    for asked in (("--topic", "in/a"), ("--channel", "rooms/a")):
        told = subprocess.run([BINARY, "explain", "-c", file, *asked], capture_output=True, text=True, timeout=30, check=True).stdout
        assert told.endswith(f"  socketio: {says}\n"), told
    file.write_text(text)
    assert "socketio" not in subprocess.run([BINARY, "explain", "-c", file, "--topic", "in/a"], capture_output=True, text=True,
                                            timeout=30, check=True).stdout
