import asyncio
import contextlib
import inspect
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

ROUTES = """
  - topic: zigbee2mqtt/{device}
    channel: devices/{device}
    codec: json
    publish:
      topic: zigbee2mqtt/{device}/set
  - topic: rooms/{room}/{kind}
    history: { count: 20000, bytes: 64MiB }
  - topic: short/{name}
    history: { count: 5 }
  - topic: lamps/{id}
    publish: { qos: 1 }
  - topic: twice/{id}
    publish: { qos: 2, retain: true }
  - topic: once/{id}
    publish: { qos: 0 }
  - topic: denied/{id}
    publish: { qos: 1 }
  - topic: deep/{rest...}
    publish: {}
  - topic: /leading/{name}
    publish: {}
  - topic: text/{name}
    codec: text
    publish: {}
  - topic: number/{name}
    codec: number
    publish: {}
  - topic: base64/{name}
    codec: base64
    publish: {}
  - topic: json/{name}
    codec: json
    publish: {}
"""


def yaml(port, routes=ROUTES, broker="", extra="", listen="127.0.0.1:0", scheme="mqtt"):
    return (f"broker:\n  url: {scheme}://127.0.0.1:{port}\n  keepalive: 5s\n  publish_timeout: 3s\n"
            f"  reconnect: {{ min: 100ms, max: 500ms }}\n{broker}"
            f"listen:\n  - address: {listen}\nroutes:\n{routes}\n{extra}")


class World:
    """What a test may start; everything is ended after it."""

    def __init__(self, directory):
        self.directory = directory
        self.things = []
        self.number = 0

    def keep(self, thing):
        self.things.append(thing)
        return thing

    def broker(self, **kwargs):
        self.number += 1
        return self.keep(harness.Broker(self.directory, name=f"mosquitto{self.number}", **kwargs))

    def sluice(self, text, **kwargs):
        self.number += 1
        return self.keep(harness.Sluice(self.directory, text, name=f"sluice{self.number}", **kwargs))

    def mqtt(self, port, **kwargs):
        return self.keep(harness.Mqtt(port, **kwargs))

    def end(self):
        problems = []
        for thing in reversed(self.things):
            if isinstance(thing, harness.Mqtt):
                thing.close()
            elif isinstance(thing, harness.Sluice) and thing.child.poll() is None:
                try:
                    thing.stop()
                except Exception as error:  # told below, after everything is ended
                    problems.append(str(error))
                thing.end()
            else:
                thing.end()
        assert not problems, problems[0]


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path)
    yield it
    it.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One broker, one gateway and one MQTT client for the tests of a file that change nothing for each other."""
    it = World(tmp_path_factory.mktemp("shared"))
    acl = it.directory / "acl"
    acl.write_text("topic readwrite #\ntopic deny denied/#\ntopic read $SYS/#\n")
    it.main_broker = it.broker(config=f"allow_anonymous true\nacl_file {acl}\nmax_queued_messages 100000\n"
                                      "max_inflight_messages 0")
    it.main = it.sluice(yaml(it.main_broker.port, extra="web: { heartbeat: 1s }\n"))
    it.client = it.mqtt(it.main_broker.port)
    yield it
    it.end()


@pytest.fixture
def sluice(shared):
    return shared.main


@pytest.fixture
def client(shared):
    return shared.client


@pytest.fixture(scope="module")
def hall(request, tmp_path_factory):
    """A gateway with the ROUTES and EXTRA of the file, and devices that answer commands."""
    import lamps
    it = World(tmp_path_factory.mktemp("hall"))
    broker = it.broker()
    devices = lamps.Devices(broker.port)
    gateway = it.sluice(yaml(broker.port, request.module.ROUTES, extra=request.module.EXTRA))
    gateway.broker = broker
    yield gateway, devices
    devices.close()
    it.end()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Coroutine tests, without a plug-in."""
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 60))
        return True
    return None


def pytest_sessionfinish(session):
    """No gateway of this session of the system is left. tests/all.py gives each run one of its own: others go on beside it."""
    left = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            state, _, _, system_session = rest.split()[:4]
            if name == "sluice" and state != "Z" and int(system_session) == os.getsid(0):
                left.append(stat.parent.name)
    if left:
        print(f"processes left behind: {left}")
        session.exitstatus = 1


@pytest.fixture
def paho(gateway):
    """Makes MQTT clients of the module's gateway; all are closed in the end."""
    import mqttclients
    with contextlib.ExitStack() as stack:
        def make(where=gateway, **kwargs):
            client = mqttclients.Paho(where, **kwargs)
            stack.callback(client.close)
            return client
        yield make
