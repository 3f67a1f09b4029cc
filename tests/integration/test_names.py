"""A name server that stalls, loses questions or errs while the broker is looked up (docs/field.md); test_names_addresses.py: which addresses are used."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import yaml
from harness import free_port, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support")]

from names import A, NAME, ROUTES, SERVFAIL, Named, NameServer, seconds  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give the gateway a name server of its own")


@pytest.fixture
def named(world):
    return Named(world)


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
