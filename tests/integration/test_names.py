"""Names of the broker and of the engine: a name server that stalls, goes or errs, and names with several addresses (docs/field.md)."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import yaml
from harness import Broker, free_port, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cluster  # noqa: E402
from names import A, SERVFAIL, Dead, NameServer  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give the gateway a name server of its own")
NAME = "broker.test"
ROUTES = "  - { topic: 'lamps/#', publish: true }\n"


class Named:
    """A world with a name server, in which the broker's name is `broker.test`."""

    def __init__(self, world):
        self.world = world
        self.server = world.keep(NameServer({NAME: ["127.0.0.1"]}))

    def gateway(self, port, ready=True, broker="", **kwargs):
        text = yaml(port, routes=ROUTES, broker=broker, **kwargs).replace("//127.0.0.1:", f"//{NAME}:")
        return self.world.sluice(text, ready=ready, binary=self.server.program(self.world.directory))


@pytest.fixture
def named(world):
    return Named(world)


def seconds(call):
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


@pytest.mark.sanitize
def test_a_name_server_that_stalls_and_then_answers(world, named):
    """What clients ask for meanwhile is answered in time; then the gateway is there at once, with MQTT 5 and not with 3.1.1."""
    broker = world.broker()
    named.server.stalled = True
    gateway = named.gateway(broker.port, ready=False, broker="  while_down: queue\n")
    answers = []
    publishing = threading.Thread(target=lambda: answers.append((gateway.post("/channels/lamps/1", b"1"), time.monotonic())))
    begin = time.monotonic()
    publishing.start()
    wait_until(lambda: f"the name server does not answer for '{NAME}'" in gateway.text(), what="the log to tell")
    publishing.join(10)
    answer, at = answers[0]
    assert answer.status_code in (503, 504) and at - begin < 4, (answer.text, at - begin)  # publish_timeout is 3 s
    named.server.stalled = False
    assert seconds(gateway.wait_ready) < 3
    assert gateway.post("/channels/lamps/1", b"1").json() == {"status": "published"}
    assert "3.1.1" not in gateway.text() and "CONNECT" not in gateway.text()
    assert "(p5," in broker.text() and "(p2," not in broker.text()


def test_lost_questions_are_asked_again_within_a_second(world, named):
    """As by conntrack's race in Kubernetes: libc asks again after five seconds."""
    broker = world.broker()
    named.server.losing = 2
    gateway = named.gateway(broker.port, ready=False)
    assert seconds(gateway.wait_ready) < 4
    assert "no connection" not in gateway.text()


def test_the_name_server_goes_and_the_broker_restarts(world, named):
    broker = world.broker()
    gateway = named.gateway(broker.port)
    named.server.end()
    broker.kill()
    wait_until(lambda: "Using the address that it had before: 127.0.0.1" in gateway.text())
    broker.start()
    gateway.wait_ready(5)
    assert gateway.text().count("Using the address") == 1


def test_a_broker_that_moved_while_the_name_server_was_away(world, named):
    """The address of before is tried, in vain; once the name server is there, the new one is found without a wait."""
    broker = world.broker()
    gateway = named.gateway(broker.port)
    named.server.end()
    broker.kill()
    world.keep(Broker(world.directory, port=broker.port, name="moved", address="127.0.0.7"))
    wait_until(lambda: "Using the address that it had before" in gateway.text())
    named.server.names[NAME] = ["127.0.0.7"]
    named.server.start()
    assert seconds(gateway.wait_ready) < 4
    assert f"'{NAME}' can be looked up again" in gateway.text()


def test_a_name_that_is_not_known_yet(world, named):
    """A broker whose container starts later. The log says so, and one question follows another only with the back-off."""
    broker = world.broker()
    named.server.names = {}
    gateway = named.gateway(broker.port, ready=False)
    wait_until(lambda: f"the name '{NAME}' is not known: check broker.url, and the name server" in gateway.text())
    named.server.names = {NAME: ["127.0.0.1"]}
    gateway.wait_ready(5)


def test_a_name_server_that_fails(world, named):
    """The next one that /etc/resolv.conf names, as after a change of the network, is asked without a restart."""
    broker = world.broker()
    named.server.code = SERVFAIL
    gateway = named.gateway(broker.port, ready=False)
    wait_until(lambda: f"'{NAME}' can't be looked up (Temporary failure in name resolution): check the name server" in gateway.text())
    other = world.keep(NameServer(named.server.names))
    (world.directory / "resolv.conf").write_text(f"nameserver {other.address}\n")
    gateway.wait_ready(5)
    assert other.asked


def test_the_next_address_is_tried(world, named):
    """The first one refuses, or is silent, or is an IPv6 one with nobody behind it."""
    port = free_port()
    named.server.names[NAME] = ["127.0.0.9", "127.200.0.1"]
    shown = subprocess.run([named.server.program(world.directory, "getent"), "ahosts", NAME], capture_output=True, text=True, timeout=30, check=True)
    first, second = dict.fromkeys(line.split()[0] for line in shown.stdout.splitlines())  # libc sorts them
    world.keep(Broker(world.directory, port=port, address=second))
    gateway = named.gateway(port)
    assert f"{first}: Connection refused" in gateway.text() and "trying its next address" in gateway.text()
    gateway.stop()
    world.keep(Dead(first, port))
    gateway = named.gateway(port, ready=False)
    assert seconds(gateway.wait_ready) < 4
    assert f"{first}: no answer; trying its next address" in gateway.text() and "3.1.1" not in gateway.text()
    gateway.stop()
    named.server.names[NAME] = ["::1", second]
    gateway = named.gateway(port, ready=False)
    assert seconds(gateway.wait_ready) < 3
    assert f"no connection to mqtt://{NAME}:{port}:" not in gateway.text()


@pytest.mark.sanitize
def test_stopping_while_the_name_server_stalls(world, named):
    """Also while the host of the key set is looked up."""
    named.server.stalled = True
    gateway = named.gateway(free_port(), ready=False, extra='auth: { jwt: { jwks_url: "https://keys.test/jwks" }, anonymous: any }\n'
                            "roles: { any: { subscribe: '#' } }\n")
    wait_until(lambda: {(NAME, A), ("keys.test", A)} <= set(named.server.asked))
    assert seconds(gateway.stop) < 2


def test_another_address_by_a_reload_while_the_name_server_stalls(world, named):
    broker = world.broker()
    named.server.stalled = True
    gateway = named.gateway(broker.port, ready=False)
    wait_until(lambda: (NAME, A) in named.server.asked)
    gateway.config.write_text(gateway.config.read_text().replace(f"//{NAME}:", "//127.0.0.1:"))
    gateway.signal(signal.SIGHUP)
    assert seconds(gateway.wait_ready) < 3


def test_doctor_says_the_same(world, named):
    file = world.directory / "doctor.yaml"
    file.write_text(yaml(free_port(), routes=ROUTES).replace("//127.0.0.1:", f"//{NAME}:"))
    named.server.names = {}
    result = subprocess.run([named.server.program(world.directory), "doctor", "-c", str(file)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1 and f"the name '{NAME}' is not known: check broker.url" in result.stdout, result
    named.server.end()
    result = subprocess.run([named.server.program(world.directory), "doctor", "-c", str(file)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1 and f"'{NAME}' can't be looked up" in result.stdout, result


@pytest.mark.sanitize
def test_the_engine_by_its_name(world, named):
    """It restarts while the name server is silent; then the gateway ends at once."""
    broker, redis = world.broker(config=cluster.BROKER), world.keep(cluster.Redis(world.directory / "redis"))
    named.server.names = {"valkey.test": ["127.0.0.9", "127.0.0.1"]}
    text = cluster.CONFIG.format(broker=f"mqtt://127.0.0.1:{broker.port}", tls="", engine=f'url: "redis://valkey.test:{redis.port}"',
                                 node="one", lease="1500ms", log=1000, workers=1, routes=cluster.ROUTES, extra="")
    redis.ask("SET", "{test}:epoch", "tested")
    gateway = world.sluice(text, binary=named.server.program(world.directory))
    named.server.stalled = True
    redis.end()
    wait_until(lambda: "that it had before: 127.0.0.1 127.0.0.9" in gateway.text())
    redis.start()
    gateway.wait_ready(5)
    assert "the name server does not answer for 'valkey.test'" in gateway.text()
    redis.end()
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    assert seconds(gateway.stop) < 2
