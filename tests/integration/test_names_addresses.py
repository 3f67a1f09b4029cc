"""Which addresses of the broker's and the engine's name are used: those of before, those that are new, one after the other (docs/field.md)."""
import os
import pathlib
import subprocess
import sys

import pytest
from harness import Broker, free_port, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cluster  # noqa: E402
from names import NAME, Dead, Named, seconds  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give the gateway a name server of its own")


@pytest.fixture
def named(world):
    return Named(world)


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
