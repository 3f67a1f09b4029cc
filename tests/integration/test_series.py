"""GET /channels/NAME/series against an oracle in plain Python: out of the history, out of rollups, through kills."""
import json
import math
import threading

import pytest
from conftest import yaml
from harness import wait_until

pytestmark = pytest.mark.sanitize

ROUTES = """
  - { topic: "rooms/{rest...}", history: { count: 20000, bytes: 64MiB } }
  - { topic: "short/{name}", history: { count: 20 } }
  - { topic: "text/{name}", codec: text }
"""
FIELDS = {"": lambda data: data, "/t": lambda data: data.get("t") if isinstance(data, dict) else None}


@pytest.fixture(scope="module")
def sluice(shared):
    return shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 2\n"))


def code(answer):
    return answer.status_code, answer.json()["code"]


def series(gateway, channel, **params):
    answer = gateway.get(f"/channels/{channel}/series", params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert answer.headers["Sluice-Cursor"] == body["cursor"] and body["channel"] == channel
    assert body["from"] % body["step"] == body["to"] % body["step"] == 0
    assert len({len(body[key]) for key in ("t", "min", "max", "mean", "last", "count")}) == 1
    assert body["t"] == sorted(set(body["t"])) and all(t % body["step"] == 0 and body["from"] <= t < body["to"] for t in body["t"])
    return body


def sample(value):
    """What counts as one: numbers, and booleans as 1 and 0."""
    return float(value) if isinstance(value, (bool, int, float)) and math.isfinite(value) else None


def oracle(messages, field, body):
    """Windows of the messages, as the gateway has to give them."""
    windows, skipped = {}, 0
    for message in messages:
        if not body["from"] <= message["ts"] < body["to"]:
            continue
        value = sample(FIELDS[field](message["data"]))
        if value is None:
            skipped += 1
        else:
            windows.setdefault(message["ts"] - message["ts"] % body["step"], []).append(value)
    return windows, skipped


def check(body, messages, field):
    windows, skipped = oracle(messages, field, body)
    assert body["t"] == sorted(windows) and body["skipped"] == skipped
    for i, t in enumerate(body["t"]):
        values = windows[t]
        assert (body["count"][i], body["min"][i], body["max"][i], body["last"][i]) == (len(values), min(values), max(values), values[-1])
        assert math.isclose(body["mean"][i], math.fsum(values) / len(values), rel_tol=1e-12, abs_tol=1e-12)


def history(gateway, channel):
    return gateway.get(f"/channels/{channel}/history").json()["messages"]


def filled(gateway, client, channel, payloads):
    for payload in payloads:
        client.client.publish(channel, payload, 1)
    last = json.loads(payloads[-1])
    wait_until(lambda: gateway.get(f"/channels/{channel}").json().get("data") == last, what=f"the last value of {channel}")


def wave(count, spikes=()):
    return [999.5 if i in spikes else math.sin(i / 50) * 20 + i % 7 / 10 for i in range(count)]


@pytest.mark.parametrize("field", FIELDS)
def test_out_of_the_history(sluice, client, field):
    channel = f"rooms/wave{len(field)}"
    values = wave(5000, spikes=[1234])
    filled(sluice, client, channel, [json.dumps(v if not field else {"a": "x", "t": v}) for v in values])
    messages = history(sluice, channel)
    assert len(messages) == 5000
    since = str(messages[0]["ts"])
    for points in (1, 7, 100, 10000):
        body = series(sluice, channel, field=field, points=points, **{"from": since})
        check(body, messages, field)
        assert len(body["t"]) <= points + 1 and sum(body["count"]) == 5000 and max(body["max"]) == 999.5, "a spike of one sample stays"
        assert all(end <= messages[0]["ts"] for _, end in body["gaps"]), "only what was before the gateway began"
    middle = messages[2000]["ts"], messages[3000]["ts"] + 1
    check(series(sluice, channel, field=field, **{"from": str(middle[0]), "to": str(middle[1])}), messages, field)


def test_what_is_no_sample(sluice, client):
    payloads = ['{"t": 1}', '{"t": true}', '{"t": false}', '{"t": null}', '{"t": "21"}', '{"t": [1]}', '{"u": 1}', "7", '{"t": 1e999}', '{"t": -2.5e3}',
                '{"t": 123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890}', '{"t": 0.1}']
    filled(sluice, client, "rooms/odd", payloads)
    body = series(sluice, "rooms/odd", field="/t", points=1)
    assert sum(body["count"]) == 6 and body["skipped"] == 6 and body["last"][-1] == 0.1 and max(body["max"]) == 1.2345678901234568e89
    check(body, history(sluice, "rooms/odd"), "/t")


def test_numbers_whose_sum_is_too_large(sluice, client):
    filled(sluice, client, "rooms/huge", ["1.5e308", "1.7e308"])
    body = series(sluice, "rooms/huge", points=1)
    assert sum(body["count"]) == 2 and all(1.5e308 <= mean <= 1.7e308 for mean in body["mean"])


def test_a_history_that_is_too_short_is_a_gap(sluice, client):
    filled(sluice, client, "short/a", [str(i) for i in range(50)])
    messages = history(sluice, "short/a")
    body = series(sluice, "short/a", points=5)
    assert sum(body["count"]) == 20 and body["gaps"][0][0] == body["from"] and body["gaps"][0][1] == messages[0]["ts"]
    check(body, messages, "")


def test_nothing_before_the_gateway_began(sluice, client):
    filled(sluice, client, "rooms/new", ["1"])
    body = series(sluice, "rooms/new", **{"from": "-1d"})
    assert len(body["gaps"]) == 1 and body["gaps"][0][0] == body["from"] and body["gaps"][0][1] <= history(sluice, "rooms/new")[0]["ts"]
    empty = series(sluice, "rooms/never")
    assert empty["t"] == [] and empty["skipped"] == 0


def test_live_goes_on_where_the_series_ends(sluice, client):
    """While messages come: what the series has and what comes after its cursor are all of them, once."""
    halt, sent = threading.Event(), []

    def publisher():
        while not halt.is_set():
            client.client.publish("rooms/live", str(len(sent)), 0)
            sent.append(1)
            halt.wait(0.0005)
    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        bodies = []
        for _ in range(20):
            goal = len(sent) + 20
            wait_until(lambda: len(sent) > goal)
            bodies.append(series(sluice, "rooms/live", points=50))
    finally:
        halt.set()
        thread.join()
    wait_until(lambda: sluice.get("/channels/rooms/live").json().get("data") == len(sent) - 1)
    for body in bodies:
        rest = sluice.get("/channels/rooms/live/history", params={"cursor": body["cursor"]}).json()["messages"]
        assert sum(body["count"]) + len(rest) == len(sent)


WRONG = {"field=temperature": "field is a JSON pointer", "from=then": "from is a time", "to=then": "to is a time", "points=0": "points is a number",
         "points=10001": "points is a number", "points=-1": "points is a number", "points=x": "points is a number", "points=": "points is a number",
         "from=-1h&to=-2h": "from comes before to", "to=9999999999999": "to is now", "from=now": "from comes before to", "field=%00": "the query holds"}


@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_is_named(sluice, query):
    answer = sluice.get(f"/channels/rooms/a/series?{query}")
    assert answer.status_code == 400 and answer.json()["message"].startswith(WRONG[query])


def test_addresses(sluice, client):
    assert code(sluice.get("/channels/elsewhere/series")) == (404, "unknown_channel")
    filled(sluice, client, "rooms/x/series", ["5"])
    filled(sluice, client, "rooms/x", ["6"])
    assert sluice.get("/channels/rooms/x/series").json()["data"] == 5, "a channel that is called so"
    assert series(sluice, "rooms/x", field="")["last"] == [6] and series(sluice, "rooms/x/series", field="value")["last"] == [5]
    assert sluice.get("/channels/rooms%2Fx/series?field=").json()["last"] == [6]
    assert sluice.get("/channels/rooms/x%2Fseries").json()["data"] == 5
    assert sluice.raw("/channels/rooms/x/series?field=", "HEAD") == (200, None)
    assert code(sluice.post("/channels/rooms/x/series?field=", "1")) == (403, "forbidden"), "a publish to a channel of that name"


def test_roles(shared, client):
    auth = """
auth: { anonymous: [some] }
roles:
  some: { subscribe: ["rooms/#", "short/#"], history: ["rooms/#"], fields: [t, "a/b", "0"] }
"""
    guarded = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra=auth))
    client.publish("rooms/secret", '{"t": {"x": 1}, "u": 2, "a/b": 3, "0": 4}')
    wait_until(lambda: guarded.get("/channels/rooms/secret").ok)
    assert series(guarded, "rooms/secret", field="/t/x")["last"] == [1] and series(guarded, "rooms/secret", field="/a~1b")["last"] == [3]
    for field in ("/u", "", "/a", "/0", "/", "/t~"):
        assert code(guarded.get("/channels/rooms/secret/series", params={"field": field})) == (403, "forbidden"), field
    for channel in ("short/a", "text/a", "elsewhere"):
        assert code(guarded.get(f"/channels/{channel}/series", params={"field": "/t"})) == (403, "forbidden")
