"""Keys that have another name here, or that stand where they do not belong: the error says the name, or the place.

A row: what it is, the file, the lines that `sluice check` prints of it (without the file's name). Rows whose lines are
warnings, or that have none, are taken.
"""
import json
import re

import pytest
from harness import ROOT
from mistakes import BROKER, ROUTE, check

CASES = [
    ("a key of broker: ca_file", BROKER + "  ca_file: /x\n" + ROUTE, [
        "3:3: broker.ca_file: unknown key here (broker.tls.ca_file expected, below tls:)",
    ]),
    ("a key of broker: host", BROKER + "  host: h\n" + ROUTE, [
        "3:3: broker.host: unknown key (broker.url: mqtt://HOST:PORT expected)",
    ]),
    ("a key of broker: port", BROKER + "  port: 1883\n" + ROUTE, [
        "3:3: broker.port: unknown key (broker.url: mqtt://HOST:PORT expected)",
    ]),
    ("a key of broker: user", BROKER + "  user: u\n" + ROUTE, [
        "3:3: broker.user: unknown key (broker.username expected)",
    ]),
    ("a key of broker: cafile", BROKER + "  cafile: /x\n" + ROUTE, [
        "3:3: broker.cafile: unknown key (broker.tls.ca_file expected)",
    ]),
    ("a key of broker: verify_hostname", BROKER + "  verify_hostname: false\n" + ROUTE, [
        "3:3: broker.verify_hostname: unknown key here (broker.tls.verify_hostname expected, below tls:)",
    ]),
    ("a key of broker: routes", BROKER + "  routes: []\n" + ROUTE, [
        "3:3: broker.routes: unknown key here (routes expected, without indentation)",
    ]),
    ("a key of broker: clean_session", BROKER + "  clean_session: true\n" + ROUTE, [
        "3:3: broker.clean_session: unknown key (broker.session_expiry: 0s for a clean session, which is the default, expected)",
    ]),
    ("a key of broker: clientId", BROKER + "  clientId: x\n" + ROUTE, [
        "3:3: broker.clientId: unknown key (did you mean client_id?)",
    ]),
    ("a key of broker: client-id", BROKER + "  client-id: x\n" + ROUTE, [
        "3:3: broker.client-id: unknown key (did you mean client_id?)",
    ]),
    ("a key of broker: usrname", BROKER + "  usrname: x\n" + ROUTE, [
        "3:3: broker.usrname: unknown key (did you mean username?)",
    ]),
    ("a key of broker: tls.ca_file", BROKER + "  tls.ca_file: /x\n" + ROUTE, [
        "3:3: broker.tls.ca_file: a key has no '.' (tls: expected, and below it ca_file:)",
    ]),
    ("a key of broker: origins", BROKER + "  origins: []\n" + ROUTE, [
        "3:3: broker.origins: unknown key here (web.origins expected, below web:)",
    ]),
    ("a key of broker: log", BROKER + "  log: {}\n" + ROUTE, [
        "3:3: broker.log: unknown key here (log expected, without indentation)",
    ]),
    ("a key of the file: url", BROKER + "url: mqtt://h\n" + ROUTE, [
        "3:1: url: unknown key here (broker.url expected, below broker:)",
    ]),
    ("a key of the file: topics", BROKER + "topics: []\n" + ROUTE, [
        "3:1: topics: unknown key (routes expected)",
    ]),
    ("a key of the file: mqtt_url", BROKER + "mqtt_url: x\n" + ROUTE, [
        "3:1: mqtt_url: unknown key (broker.url expected, below broker:)",
    ]),
    ("a key of the file: mqtt_host", BROKER + "mqtt_host: x\n" + ROUTE, [
        "3:1: mqtt_host: unknown key (broker.url: mqtt://HOST:PORT expected, below broker:)",
    ]),
    ("a key of the file: mqttPassword", BROKER + "mqttPassword: x\n" + ROUTE, [
        "3:1: mqttPassword: unknown key (broker.password expected, below broker:)",
    ]),
    ("a key of the file: broker_port", BROKER + "broker_port: 1883\n" + ROUTE, [
        "3:1: broker_port: unknown key (broker.url: mqtt://HOST:PORT expected, below broker:)",
    ]),
    ("a key of the file: host", BROKER + "host: h\n" + ROUTE, [
        "3:1: host: unknown key (broker.url: mqtt://HOST:PORT for the broker, listen: [{ address: HOST:PORT }] for web clients expected)",
    ]),
    ("a key of the file: port", BROKER + "port: 8080\n" + ROUTE, [
        "3:1: port: unknown key (listen: [{ address: 0.0.0.0:PORT }] expected)",
    ]),
    ("a key of the file: password", BROKER + "password: x\n" + ROUTE, [
        "3:1: password: unknown key here (broker.password expected, below broker:)",
    ]),
    ("a key of the file: origins", BROKER + "origins: []\n" + ROUTE, [
        "3:1: origins: unknown key here (web.origins expected, below web:)",
    ]),
    ("a key of the file: log_level", BROKER + "log_level: debug\n" + ROUTE, [
        "3:1: log_level: unknown key (log.level expected)",
    ]),
    ("a key of the file: jwt", BROKER + "jwt: {}\n" + ROUTE, [
        "3:1: jwt: unknown key here (auth.jwt expected, below auth:)",
    ]),
    ("a key of the file: ca_file", BROKER + "ca_file: /x\n" + ROUTE, [
        "3:1: ca_file: unknown key here (broker.tls.ca_file expected, below tls:)",
    ]),
    ("a key of the file: count", BROKER + "count: 5\n" + ROUTE, [
        "3:1: count: unknown key here (routes.history.count expected, below history:)",
    ]),
    ("a key of the file: broker.url", BROKER + "broker.url: mqtt://h\n" + ROUTE, [
        "3:1: broker.url: unknown key (broker.url expected, below broker:)",
    ]),
    ("a key of the file: Web", BROKER + "Web: {}\n" + ROUTE, [
        "3:1: Web: unknown key (did you mean web?)",
    ]),
    ("a key of the file: cors", BROKER + "cors: x\n" + ROUTE, [
        "3:1: cors: unknown key (web.origins expected)",
    ]),
    ("a key of the file: heartbeat", BROKER + "heartbeat: 5s\n" + ROUTE, [
        "3:1: heartbeat: unknown key here (web.heartbeat expected, below web:)",
    ]),
    ("a key of a route: topics", BROKER + "routes:\n  - topic: a\n    topics: b\n", [
        "5:5: routes[0].topics: unknown key (did you mean topic?)",
    ]),
    ("a key of a route: filter", BROKER + "routes:\n  - topic: a\n    filter: b\n", [
        "5:5: routes[0].filter: unknown key (topic expected)",
    ]),
    ("a key of a route: exclude", BROKER + "routes:\n  - topic: a\n    exclude: [b]\n", [
        "5:5: routes[0].exclude: unknown key (except expected)",
    ]),
    ("a key of a route: retain", BROKER + "routes:\n  - topic: a\n    retain: true\n", [
        "5:5: routes[0].retain: unknown key here (routes[0].publish.retain expected, below publish:)",
    ]),
    ("a key of a route: store", BROKER + "routes:\n  - topic: a\n    store: disk\n", [
        "5:5: routes[0].store: unknown key here (routes[0].history.store expected, below history:)",
    ]),
    ("a key of a route: policy", BROKER + "routes:\n  - topic: a\n    policy: latest\n", [
        "5:5: routes[0].policy: unknown key here (routes[0].rate.policy expected, below rate:)",
    ]),
    ("a key of a route: name", BROKER + "routes:\n  - topic: a\n    name: x\n", [
        "5:5: routes[0].name: unknown key (channel expected)",
    ]),
    ("a key of a route: url", BROKER + "routes:\n  - topic: a\n    url: mqtt://h\n", [
        "5:5: routes[0].url: unknown key here (broker.url expected, below broker:)",
    ]),
    ("a key of a route: payload", BROKER + "routes:\n  - topic: a\n    payload: json\n", [
        "5:5: routes[0].payload: unknown key (codec expected)",
    ]),
    ("a key of a route: QoS", BROKER + "routes:\n  - topic: a\n    QoS: 1\n", [
        "5:5: routes[0].QoS: unknown key (did you mean qos?)",
    ]),
    ("a key of a route: history.count", BROKER + "routes:\n  - topic: a\n    history.count: 5\n", [
        "5:5: routes[0].history.count: a key has no '.' (history: expected, and below it count:)",
    ]),
    ("a key of a route: subscribe", BROKER + "routes:\n  - topic: a\n    subscribe: b\n", [
        "5:5: routes[0].subscribe: unknown key (topic expected)",
    ]),
    ("a key of a route: interval", BROKER + "routes:\n  - topic: a\n    interval: 5s\n", [
        "5:5: routes[0].interval: unknown key (rate: { policy: latest, interval: … } expected)",
    ]),
    ("a key of publish: codec", BROKER + "routes:\n  - topic: a\n    publish: { codec: json }\n", [
        "5:16: routes[0].publish.codec: unknown key here (routes.codec expected, in an entry of routes:)",
    ]),
    ("a key of listen: port", BROKER + "listen: [{ port: 8080 }]\n" + ROUTE, [
        "3:10: listen[0].address: it is missing (a text expected)",
        "3:12: listen[0].port: unknown key (address: 0.0.0.0:PORT expected)",
    ]),
    ("a key of listen: cert_file", BROKER + 'listen: [{ address: "127.0.0.1:1", cert_file: x }]\n' + ROUTE, [
        "3:36: listen[0].cert_file: unknown key (tls: { cert_file: …, key_file: … } expected)",
    ]),
    ("a broker below mqtt:", "mqtt: { host: h, port: 1883 }\n" + ROUTE, [
        "1:1: broker: it is missing (a mapping expected)",
        "1:9: mqtt.host: unknown key (broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers, expected)",
        "1:18: mqtt.port: unknown key (broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers, expected)",
    ]),
    # From a public tracker (docs/field.md).
    ("a CA that would not be read", "broker:\n  url: mqtts://h\n  tls:\n    ca_certfile: /etc/ssl/certs/site-ca.crt\n" + ROUTE, [
        "4:5: broker.tls.ca_certfile: unknown key (broker.tls.ca_file expected)",
    ]),
]


@pytest.mark.parametrize("text, expected", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mistake(tmp_path, text, expected):
    status, lines = check(tmp_path, text)
    assert lines == expected
    assert status == (2 if any(": warning: " not in line for line in lines) else 0)


SCHEMA = json.loads((ROOT / "config/sluice.schema.json").read_text())


def tables(node, path=()):
    """Paths of all tables of the file, with their keys; lists and maps of names are left out."""
    keys = node.get("properties", {})
    if path:
        yield path, set(keys)
    for key, value in keys.items():
        for form in [value, *value.get("anyOf", []), *value.get("oneOf", [])]:
            if "properties" in form:
                yield from tables(form, (*path, key))


TABLES = dict(tables(SCHEMA))
TOP = set(SCHEMA["properties"])


@pytest.mark.parametrize("path", TABLES, ids=".".join)
def test_a_key_one_level_too_high(tmp_path, path):
    """Every key of every table, beside the table instead of in it: the error names where it belongs."""
    above = TABLES.get(path[:-1], TOP)
    for key in sorted(TABLES[path] - above):
        text = "".join("  " * depth + name + ":\n" for depth, name in enumerate(path[:-1]))
        _, lines = check(tmp_path, f"{text}{'  ' * (len(path) - 1)}{key}: 1\n{ROUTE}")
        whole = ".".join((*path[:-1], key))
        [line] = [line for line in lines if f": {whole}: " in line]
        # Some keys are in several tables, or are what others call something else; then another place may be named.
        elsewhere = [other for other, keys in TABLES.items() if key in keys and other != path]
        assert "expected" in line or "did you mean" in line
        assert f"{'.'.join((*path, key))} expected" in line or elsewhere or len(path) == 1 or "(broker.tls." in line, line


def test_a_key_one_level_too_low(tmp_path):
    for table in sorted(key for key in TABLES if len(key) == 1):
        for key in sorted(TOP - TABLES[table]):
            _, lines = check(tmp_path, f"{table[0]}:\n  {key}: 1\n{ROUTE}")
            [line] = [line for line in lines if f": {table[0]}.{key}: " in line]
            if (table[0], key) not in {("auth", "roles"), ("broker", "user")}:  # api_keys have roles too; a user has a name
                assert re.search(rf"\({key}\b.* expected", line) or "did you mean" in line, line
