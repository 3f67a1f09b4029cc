"""What Grafana's JSON data sources ask (simpod-json-datasource), as they ask it."""
import datetime

import pytest
from conftest import yaml
from harness import wait_until

ROUTES = """
  - { topic: "rooms/{name}", codec: json, history: { count: 100 } }
  - { topic: "text/{name}", codec: text }
"""


@pytest.fixture(scope="module")
def sluice(shared):
    it = shared.sluice(yaml(shared.main_broker.port, ROUTES))
    for value in (1, 50, 3):
        shared.client.publish("rooms/k", f'{{"t": {value}, "on": true, "a/b": 1, "name": "x"}}')
    shared.client.publish("rooms/n", "7")
    shared.client.publish("text/a", "hello")
    wait_until(lambda: it.get("/channels/text/a").ok)
    return it


def iso(seconds):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def query(sluice, *targets, points=2, **more):
    return sluice.post("/grafana/query", json={
        "app": "dashboard", "range": {"from": iso(-3600), "to": iso(0.5), "raw": {"from": "now-1h", "to": "now"}}, "intervalMs": 5000,
        "maxDataPoints": points, "targets": [{"refId": "A", "datasource": {"type": "simpod-json-datasource"}, **target} for target in targets], **more})


def test_it_is_there(sluice):
    for path in ("/grafana", "/grafana/"):
        assert sluice.get(path).json() == {"status": "ok"}
    for path in ("annotations", "tag-keys", "tag-values", "metric-payload-options", "variable"):
        assert sluice.post(f"/grafana/{path}", json={}).json() == []
    assert sluice.get("/grafana/query").status_code == 405 and sluice.post("/grafana/else", json={}).status_code == 404
    assert sluice.get("/grafanas").status_code == 404


def test_names(sluice):
    names = ["rooms/k#/t", "rooms/k#/on", "rooms/k#/a~1b", "rooms/n"]
    assert sorted(sluice.post("/grafana/search", json={"target": ""}).json()) == sorted(names)
    assert sluice.post("/grafana/search", json={"target": "k#/t"}).json() == ["rooms/k#/t"]
    assert sorted(item["value"] for item in sluice.post("/grafana/metrics", json={"payload": {}}).json()) == sorted(names)


def test_points(sluice):
    answer = query(sluice, {"target": "rooms/k#/t"}, {"target": "rooms/k#/t", "payload": {"show": "max"}}, {"target": "rooms/n"},
                   {"target": "rooms/k#/a~1b", "hide": True}, {"target": "rooms/k#/t", "payload": {"show": "count"}}).json()
    assert [line["target"] for line in answer] == ["rooms/k#/t", "rooms/k#/t", "rooms/n", "rooms/k#/t"]
    mean, most, whole, count = ([value for value, _ in line["datapoints"]] for line in answer)
    assert mean == [18] and most == [50] and whole == [7] and count == [3]
    assert all(ts % 1000 == ts - ts // 1000 * 1000 and abs(ts / 1000 - datetime.datetime.now().timestamp()) < 4000 for line in answer for _, ts in line["datapoints"])
    assert query(sluice).json() == []


@pytest.mark.parametrize("target,status,message", [
    ({"target": "elsewhere"}, 404, "no route"), ({"target": "rooms/k#t"}, 400, "field is a JSON pointer"), ({}, 400, "a target has no name"),
    ({"target": "rooms/+"}, 400, "a target begins with no valid channel"), ({"target": "rooms/k", "payload": {"show": "median"}}, 400, "payload.show is")])
def test_what_is_wrong(sluice, target, status, message):
    answer = query(sluice, target)
    assert answer.status_code == status and (answer.json()["message"].startswith(message) or status == 404)


def test_bodies_that_are_none(sluice):
    for body in ("", "[]", "{}", '{"targets": 1}', '{"targets": []}', '{"targets": [], "range": {"from": "x", "to": "y"}}', '{"targets": [1]'):
        assert sluice.post("/grafana/query", body).status_code == 400, body
    assert query(sluice, *[{"target": "rooms/n"}] * 65).status_code == 400
    assert query(sluice, {"target": "rooms/n"}, points="x").ok and query(sluice, {"target": "rooms/n"}, points=1e300).ok


def test_roles(shared):
    guarded = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="""
auth: { anonymous: [some] }
roles:
  some: { subscribe: "rooms/#", fields: [t] }
"""))
    shared.client.publish("rooms/g", '{"t": 1, "u": 2}')
    wait_until(lambda: guarded.get("/channels/rooms/g").ok)
    assert guarded.post("/grafana/search", json={}).json() == ["rooms/g#/t"]
    assert query(guarded, {"target": "rooms/g#/t"}).json()[0]["datapoints"][0][0] == 1
    assert query(guarded, {"target": "rooms/g#/u"}).status_code == 403 and query(guarded, {"target": "text/a"}).status_code == 403
