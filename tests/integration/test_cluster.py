"""Several gateways with one sequence: faults while messages flow and clients hop from node to node with their cursor.

tests/cluster/ has all the cases, and the judge; here is what every test run should see.
"""
import pathlib
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cases
import cluster
from harness import Broker, Mqtt, wait_until


def judge(report):
    log = report.pop("log")
    assert not report["faults"], f"{report}\n{log}"
    assert report["sent"] > 300 and report["received"] == report["sent"] * report["clients"], f"{report}\n{log}"
    return report


@pytest.mark.timeout(150)
@pytest.mark.parametrize("names", [["C3", "C4", "C2", "C5"], ["C2-tls"], ["C15", "C7"]], ids="+".join)
def test_nothing_is_lost_doubled_or_out_of_order(tmp_path, names):
    """And there are no gaps: whoever dies, somebody has it all."""
    report = judge(cases.run(names, tmp_path, rate=200, clients=4, pace=0.4))
    assert report["gaps"] == 0 and report["lost"] == 0, report
    if "C7" in names:
        assert report["mended"] > 0, report
    if "C2" in names or "C2-tls" in names:
        assert report["upstream"] > 0 and report["silence"] < 1.5 + 0.7 + 1.0, report  # a hop is up to a second of its own


@pytest.mark.timeout(150)
def test_what_nobody_can_know_is_told(tmp_path):
    """The leader and an engine that keeps nothing die together."""
    report = cases.run("C9", tmp_path, rate=200, clients=4, pace=0.4)
    log = report.pop("log")
    assert not report["faults"] and report["gaps"] > 0 and report["lost"] > 0, f"{report}\n{log}"


def test_one_sequence_on_every_node(tmp_path):
    """The same numbers, histories and last values, also on a node that starts later; and publishing from any of them."""
    with cases.World(tmp_path, nodes=2) as world:
        device = Mqtt(world.broker.port, subscribe=["plant/#"])
        try:
            for i in range(50):
                device.publish(f"plant/{i % 5}/t", str(i))
            device.publish("plant/1/state", b"on", retain=True)
            for node in world.nodes:
                wait_until(lambda: node.get("/channels/plant/1/state").status_code == 200, what="the last message")
            late = world.keep(cluster.Node(tmp_path, "late", world.broker.port, world.redis.port))
            nodes = world.nodes + [late]
            for path in ("/channels", "/channels/plant/3/t", "/channels/plant/3/t/history", "/channels/plant/1/state/history"):
                answers = [node.get(path).json() for node in nodes]
                for answer in answers: # how old a value is depends on when one asks
                    for entry in answer.get("channels", []):
                        del entry["age"]
                assert answers[0] == answers[1] == answers[2], (path, answers)
            assert len(late.get("/channels/plant/3/t/history").json()["messages"]) == 10
            # A publish leaves from the node that took it, and comes to all.
            for i, node in enumerate(nodes):
                answer = node.post("/channels/plant/7/t", str(i).encode())
                assert answer.status_code == 200, answer.text
                for other in nodes:
                    wait_until(lambda: other.get("/channels/plant/7/t").json().get("data") == i, what="the publish everywhere")
            assert len({node.get("/channels/plant/7/t").json()["cursor"] for node in nodes}) == 1
        finally:
            device.close()


def test_what_is_no_news_is_none_on_a_late_node_either(tmp_path):
    """Values that `on_change` leaves out, and retained ones that come again, are in no history, also of a node that reads them from the engine."""
    routes = """
  - { topic: "plant/{id}/{kind}", channel: "plant/{id}/{kind}", qos: 1, history: { count: 50 }, rate: { policy: on_change, deadband: 1 } }
"""
    with cases.World(tmp_path, nodes=2, routes=routes) as world:
        device = Mqtt(world.broker.port)
        try:
            for value in (1, 1, 1.5, 5, 5, 5.5, 9, 9):
                device.publish("plant/1/t", str(value))
            device.publish("plant/1/end", b"1")
            for node in world.nodes:
                wait_until(lambda: node.get("/channels/plant/1/end").status_code == 200, what="the last message")
            nodes = world.nodes + [world.keep(cluster.Node(tmp_path, "late", world.broker.port, world.redis.port, routes=routes))]
            for node in nodes:
                assert [message["data"] for message in node.get("/channels/plant/1/t/history").json()["messages"]] == [1, 5, 9]
            assert len({str(node.get("/channels/plant/1/t").json()) for node in nodes}) == 1
        finally:
            device.close()


def test_a_node_with_other_routes_says_so(tmp_path):
    """At the start, and until a reload makes them the same."""
    with cases.World(tmp_path, nodes=1) as world:
        other = world.keep(cluster.Node(tmp_path, "other", world.broker.port, world.redis.port,
                                        routes=cluster.ROUTES.replace("count: 2000", "count: 20")))
        assert other.metric("sluice_engine_config_differs") == 1
        assert world.nodes[0].metric("sluice_engine_config_differs") == 0
        assert "the routes here are not those of 'a'" in other.text()
        other.config.write_text(other.config.read_text().replace("count: 20 ", "count: 2000 "))
        other.signal(signal.SIGHUP)
        wait_until(lambda: other.metric("sluice_engine_config_differs") == 0, what="the same routes")


def test_the_engine_away(tmp_path):
    """Clients are served from memory, and are told; publishing goes on; nothing that devices send meanwhile is lost."""
    with cases.World(tmp_path, nodes=2) as world:
        device = Mqtt(world.broker.port, subscribe=["plant/#"])
        try:
            device.publish("plant/1/t", b"1")
            for node in world.nodes:
                wait_until(lambda: node.get("/channels/plant/1/t").status_code == 200, what="the value")
            world.redis.end()
            for node in world.nodes:
                wait_until(lambda: node.get("/readyz").status_code == 503, what="not ready")
                assert "engine" in node.get("/readyz").json()["message"]
                assert node.get("/channels/plant/1/t").json()["data"] == 1
                answer = node.get("/poll?channel=plant/1/t&cursor=last")
                assert answer.headers["Sluice-Upstream"] == "down" and answer.json()["upstream"]["cause"] == "engine"
                assert node.metric("sluice_engine_up") == 0
            assert world.nodes[1].post("/channels/plant/2/t", b"5").status_code == 200
            device.publish("plant/1/t", b"2")
            world.redis.start()
            for node in world.nodes:
                node.wait_ready()
                wait_until(lambda: node.get("/channels/plant/1/t").json()["data"] == 2, what="what came meanwhile")
                wait_until(lambda: node.get("/channels/plant/2/t").json().get("data") == 5, what="what was published meanwhile")
        finally:
            device.close()


def test_no_engine_at_the_start(tmp_path):
    """The log says what is waited for; then the process ends, for its supervisor to start it again."""
    broker = Broker(tmp_path, config=cluster.BROKER)
    try:
        with pytest.raises(AssertionError, match="engine.valkey.url: redis://127.0.0.1:1: Connection refused"):
            cluster.Node(tmp_path, "alone", broker.port, 1, ready=False)
    finally:
        broker.end()
