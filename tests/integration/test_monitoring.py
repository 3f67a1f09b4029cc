"""docker/monitoring: a real Prometheus scrapes a real gateway with the alert rules, and answers what the dashboard asks."""
import asyncio
import json
import re
import shutil
import subprocess

import pytest
import requests
import yaml as pyyaml
from conftest import yaml
from harness import ROOT, Process, free_port, wait_until
from wsclient import connect

MONITORING = ROOT / "docker/monitoring"
ALERTS = MONITORING / "alerts.yml"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/sluice.json").read_text())
NOT_OURS = {"up"}  # Prometheus itself makes it
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf", "nan"}


def metrics_in(expression):
    """The names of metrics in a PromQL expression: identifiers that are no function, label or word of the language."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    return {name for name, call in re.findall(r"\b([a-zA-Z_:][\w:]*)\s*(\()?", bare) if not call and name not in WORDS} - NOT_OURS


def test_the_reading_of_expressions():
    assert metrics_in('histogram_quantile(0.99, sum by (instance, le) (rate(a_b{x="c_d"}[5m]))) > 1 and e:f offset 5m') == {"a_b", "e:f"}
    assert metrics_in("topk(10, sum(x_total) by (route)) / on (a) group_left (b) y > bool 3") == {"x_total", "y"}
    assert metrics_in('up{job="x"} == 0') == set()


def alert_rules():
    return [rule for group in pyyaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries():
    """(expression, labels that the legend shows) of everything that the dashboard asks."""
    found = [(target["expr"], re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
             for panel in panels() for target in panel["targets"]]
    return found + [(annotation["expr"], []) for annotation in DASHBOARD["annotations"]["list"]]


def grafana_fills(expression):
    return expression.replace("$__rate_interval", "20s").replace("$instance", ".*")


def promtool(*args):
    result = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_files_are_sound():
    promtool("check", "config", str(MONITORING / "prometheus.yml"))
    assert f"{len(alert_rules())} rules found" in promtool("check", "rules", str(ALERTS))
    config = pyyaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["sluice:8080"]
    source = pyyaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["current"]["text"] == source["name"]
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels())
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and len({panel["title"] for panel in panels()}) == len(panels())
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for i, a in enumerate(places):  # nothing lies on anything else
        assert a["x"] + a["w"] <= 24
        assert all(a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
                   for b in places[:i])


def test_alerts_fire_when_they_should():
    assert "SUCCESS" in promtool("test", "rules", "tests/monitoring/alerts_test.yml")


def test_a_wrong_expectation_is_noticed(tmp_path):
    text = (ROOT / "tests/monitoring/alerts_test.yml").read_text()
    (tmp_path / "test.yml").write_text(text.replace("../../docker/monitoring/alerts.yml", str(ALERTS)).replace("97.66%", "12%"))
    assert subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, timeout=60).returncode


async def make_traffic(gateway, client, round):
    """A bit of everything, so that every series has something to tell."""
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/#")
        for number in range(round * 10, round * 10 + 5):
            client.publish("rooms/k/t", str(number))
            while (await ws.until("message"))["data"] != number:  # after the first round, the last value of the one before
                pass
            client.publish("json/x", "{")
            assert gateway.post("/channels/lamps/1", "x").status_code == 200


@pytest.fixture(scope="module")
def watched(shared):
    """Prometheus with docker/monitoring's configuration, but for the address and a shorter interval."""
    if not shutil.which("prometheus"):
        pytest.fail("Prometheus is missing: apt-get install prometheus")
    gateway = shared.sluice(yaml(shared.main_broker.port))
    config = pyyaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(ALERTS)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{gateway.port}"]}]
    file = shared.directory / "prometheus.yml"
    file.write_text(pyyaml.safe_dump(config))
    port = free_port()
    process = shared.keep(Process(["prometheus", f"--config.file={file}", f"--storage.tsdb.path={shared.directory}/tsdb",
                                   f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], shared.directory / "prometheus.log"))
    api = f"http://127.0.0.1:{port}/api/v1"

    def get(path, **params):
        answer = requests.get(api + path, params=params, timeout=20).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def scraped():
        assert process.child.poll() is None, process.text()
        try:
            return [target for target in get("/targets")["activeTargets"] if target["health"] == "up"]
        except requests.RequestException:  # it is starting
            return None
    target = wait_until(scraped, 40, "Prometheus to scrape the gateway")[0]
    assert target["lastError"] == ""
    for round in range(3):  # a rate has a beginning and an end
        asyncio.run(make_traffic(gateway, shared.client, round))
        count = str(int(gateway.metric("sluice_mqtt_codec_dropped_total")))
        wait_until(lambda: [s for s in get("/query", query="sluice_mqtt_codec_dropped_total")["result"] if s["value"][1] == count],
                   30, "Prometheus to see the traffic")
    gateway.prometheus = get
    return gateway


def test_expressions_use_only_names_that_exist(watched):
    exposed = {re.match(r"[\w:]+", line).group() for line in watched.get("/metrics").text.splitlines() if line[0] != "#"}
    asked = {name: metrics_in(text) for name, text in [(rule["alert"], rule["expr"]) for rule in alert_rules()] +
             [(text, text) for text, _ in queries()] +
             [(v["name"], re.sub(r"label_values\((\w+), \w+\)", r"\1", v["definition"]))
              for v in DASHBOARD["templating"]["list"] if "definition" in v]}
    assert [name for name, names in asked.items() if not names] == ["SluiceDown"]  # which asks for `up`
    assert {name: names - exposed for name, names in asked.items() if names - exposed} == {}
    known = set(watched.prometheus("/label/__name__/values"))
    assert exposed <= known  # Prometheus took all of them, in OpenMetrics


def test_prometheus_uses_openmetrics(watched):
    """By its own word: types as the parser of the negotiated format has them."""
    types = {item["metric"]: item["type"] for item in
             watched.prometheus("/targets/metadata", match_target='{job="sluice"}')}
    assert types["sluice_build"] == "info" and types["sluice_messages"] == "counter"
    assert types["sluice_delivery_seconds"] == "histogram" and types["sluice_sessions"] == "gauge"


@pytest.mark.parametrize("expression, labels", queries())
def test_every_panel_has_an_answer(watched, expression, labels):
    if "> 0" in expression and "changes(" in expression:
        watched.prometheus("/query", query=grafana_fills(expression))  # no restart: nothing to show, but sound
        return
    result = watched.prometheus("/query", query=grafana_fills(expression))["result"]
    assert result
    for label in labels:
        assert all(series["metric"].get(label) for series in result), f"no label {label}"


def test_no_alert_on_a_healthy_gateway(watched):
    def rules():
        found = [rule for group in watched.prometheus("/rules")["groups"] for rule in group["rules"]]
        return found if all(rule["health"] == "ok" for rule in found) else None
    found = wait_until(rules, 30, "all rules to be evaluated")
    assert {rule["name"] for rule in found} == {rule["alert"] for rule in alert_rules()}
    busy = {rule["name"]: rule["state"] for rule in found if rule["state"] != "inactive"}
    assert busy in ({}, {"SluicePayloadsRefused": "pending"})  # broken payloads were part of the traffic
