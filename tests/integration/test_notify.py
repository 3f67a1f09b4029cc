"""What a service manager hears, by the protocol of sd_notify(3), and whether it is true."""
import contextlib
import os
import signal
import socket
import time

import pytest
import requests
from conftest import yaml
from harness import free_port, wait_until

pytestmark = pytest.mark.sanitize


class Manager:
    """The socket of a service manager."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.settimeout(20)

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def silent(self):
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
            return False
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(20)

    def end(self):
        self.socket.close()


@contextlib.contextmanager
def notify_socket(address):
    os.environ["NOTIFY_SOCKET"] = address
    try:
        yield
    finally:
        del os.environ["NOTIFY_SOCKET"]


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_reload_stop(world, kind):
    address = str(world.directory / "notify") if kind == "path" else f"@sluice-test-{os.getpid()}-{time.monotonic_ns()}"
    manager = world.keep(Manager(address))
    port = free_port()
    with notify_socket(address):
        gateway = world.sluice(yaml(free_port(), listen=f"127.0.0.1:{port}"), ready=False)
    assert manager.next() == {"READY": "1", "STATUS": "running"}
    # Ready means: whoever connects now is served.
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    assert manager.silent()

    before = time.monotonic_ns() // 1000
    gateway.signal(signal.SIGHUP)
    reloading = manager.next()
    assert reloading["RELOADING"] == "1" and before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.next() == {"READY": "1", "STATUS": "running"}
    assert "reloaded" in gateway.text()

    good = gateway.config.read_text()
    gateway.config.write_text(good + "nonsense: 1\n")
    gateway.signal(signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    again = manager.next()
    assert again["READY"] == "1" and "old configuration" in again["STATUS"]
    keys = world.directory / "keys.json"  # the file is read after the configuration was found to be right
    keys.write_text("{}")
    gateway.config.write_text(good + f"auth: {{ jwt: {{ jwks_file: {keys} }} }}\nroles: {{ r: {{ subscribe: '#' }} }}\n")
    gateway.signal(signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    again = manager.next()
    assert again["READY"] == "1" and "old configuration" in again["STATUS"]
    assert "reload failed, nothing changes: auth." in gateway.text()
    gateway.config.write_text(good)

    gateway.signal(signal.SIGTERM)
    assert manager.next()["STOPPING"] == "1"
    assert gateway.wait() == 0
    assert manager.silent()


def test_no_ready_when_it_can_not_listen(world):
    manager = world.keep(Manager(str(world.directory / "notify")))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with notify_socket(str(world.directory / "notify")), pytest.raises(AssertionError, match="in use"):
            world.sluice(yaml(free_port(), listen=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert manager.silent()


@pytest.mark.parametrize("address", ["/nonexistent/notify", "relative", "@", "/" + "x" * 200])
def test_a_manager_that_is_not_there(world, address):
    with notify_socket(address):
        gateway = world.sluice(yaml(free_port()), ready=False)
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in gateway.text())
    gateway.stop()
