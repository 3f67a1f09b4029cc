"""The broker and the gateways under test, as processes that can't outlive this one."""
import asyncio
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness # noqa: E402

from spy import Spy, Truth # noqa: E402
from proxy import Proxy, connect_local # noqa: E402

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
CONFIG = """\
broker:
  url: mqtt://127.0.0.1:{broker}
  client_id: {name}
  keepalive: {keepalive}s
  publish_timeout: 5s
  session_expiry: {expiry}
  reconnect: {{ min: 100ms, max: 1s }}
listen:
  - address: 127.0.0.1:{port}
  - address: 127.0.0.1:{tls_port}
    tls: {{ cert_file: {cert}, key_file: {key} }}
{extra_listen}workers: 2
routes:
  - topic: soak/s/{{x}}
    qos: {qos}
    history: {{ count: 8, age: 10m{store} }}
  - topic: soak/o/{{x}}
    qos: {qos}
    history: {{ count: 100, age: 10m{store} }}
    rate: {{ policy: on_change, pointer: /v }}
  - topic: "soak/#"
    qos: {qos}
    history: {{ count: {count}, bytes: 1MiB, age: 10m{store} }}
  - topic: quiet/{{x}}
    stale: 2s
  - topic: up/{{x}}
    history: {{ count: 20 }}
    publish: {{ qos: 1 }}
  - topic: flood/{{x}}
    history: {{ count: 20, bytes: 64KiB }}
    publish: {{ qos: 1 }}
  - topic: lamp/{{x}}
    history: {{ count: 20 }}
    publish: {{ topic: "lamp/{{x}}/set", confirm: {{ within: 1s }} }}
  - topic: ask/{{x}}
    history: {{ count: 20 }}
    publish: {{ qos: 1 }}
{extra_route}auth:
  jwt: {{ secret_file: {secret}, issuer: https://soak.example, audience: sluice }}
  anonymous: [anyone]
roles:
  anyone: {{ subscribe: "#", publish: "#" }}
  reader: {{ subscribe: "soak/#" }}
{storage}limits:
  connections: 250
  frame: 256KiB
  queue: 64KiB
  slow_consumer: {slow}
  history: 32MiB
socketio: {{ ping_interval: 2s, ping_timeout: 4s }}
mqtt: {{ session_expiry: 10m }}
web:
  heartbeat: 2s
  poll_wait_max: 5s
  request_timeout: 5s
log:
  level: {level}
"""


def guarded(command):
    """The kernel kills it when we end, however we end."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


class Broker:
    def __init__(self, directory, address):
        self.directory, self.address = directory, address
        self.port = harness.free_port()
        self.process = None
        self.starts = 0

    async def start(self):
        listeners = "".join(f"listener {self.port} {address}\n" for address in ["127.0.0.1", *self.address])
        config = self.directory / "mosquitto.conf"
        config.write_text(f"user root\n{listeners}allow_anonymous true\npersistence false\nmax_queued_messages 0\n"
                          "max_inflight_messages 100\n")
        self.starts += 1
        self.process = harness.Process(guarded([harness.MOSQUITTO, "-c", str(config)]),
                                       self.directory / f"mosquitto-{self.starts % 20}.log")
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                (await connect_local(self.port)).close()
                return
            if time.monotonic() > end or self.process.child.poll() is not None:
                raise RuntimeError("mosquitto does not start: " + self.process.text())
            await asyncio.sleep(0.05)

    def end(self):
        if self.process:
            self.process.end()


class Gateway:
    """Behind proxies: `upstream` to the broker, and `clients`, `line` and `secure` (TLS) to it. `life` counts its processes."""

    def __init__(self, name, directory, binary, broker, link, random, findings, log, **settings):
        self.name, self.directory, self.binary, self.broker, self.link = name, directory, binary, broker, link
        self.findings, self.log, self.settings, self.random = findings, log, settings, random
        self.truth = Truth(name)
        self.port, self.tls_port = harness.free_port(), harness.free_port()
        self.config = directory / f"{name}.yaml"
        self.process = None
        self.running = False
        self.lock = asyncio.Lock()
        self.variant = 0

    async def open(self):
        async def to_broker():
            return await (self.link.connect(self.broker.port) if self.settings.get("lossy") and self.link
                          else connect_local(self.broker.port))

        async def to_gateway():
            return await connect_local(self.port)

        async def to_tls():
            return await connect_local(self.tls_port)

        async def over_the_line():
            return await (self.link.connect(self.port) if self.link else connect_local(self.port))
        self.upstream = await Proxy(f"{self.name} upstream", to_broker, self.random, lambda: Spy(self.truth), linger=2).start()
        self.clients = await Proxy(f"{self.name} clients", to_gateway, self.random).start()
        self.line = await Proxy(f"{self.name} line", over_the_line, self.random).start()
        self.secure = await Proxy(f"{self.name} TLS", to_tls, self.random).start()
        self.proxies = [self.upstream, self.clients, self.line, self.secure]
        self.write()
        await self.start()

    def write(self, broken=False):
        self.variant += 1
        extra, doors, disk = self.variant % 3, self.settings["doors"], self.settings.get("disk")
        text = CONFIG.format(
            tls_port=self.tls_port, cert=doors.cert, key=doors.key, secret=doors.secret,
            store=", store: disk" if disk else "", storage=f"storage: {{ path: {self.directory}/{self.name}.db, flush: 200ms }}\n" if disk else "",
            broker=self.upstream.port, name=self.name, port=self.port, expiry=self.settings["expiry"], qos=self.settings["qos"],
            slow=self.settings["slow"], keepalive=5 if extra != 2 else 6, count=1000 + 100 * extra,
            level="info" if extra else "warn", extra_listen=f"  - address: {self.link.here}:{self.port}\n" if self.link else "",
            extra_route="  - topic: more/{x}\n    qos: 0\n" if extra == 1 else "")
        self.config.write_text(text + ("  nonsense: [\n" if broken else ""))

    async def start(self):
        self.truth.life += 1
        self.log_path = self.directory / f"{self.name}-{self.truth.life}.log"
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:exitcode=86", UBSAN_OPTIONS="print_stacktrace=1",
                   TSAN_OPTIONS="exitcode=87:halt_on_error=0")
        self.process = harness.Process(guarded([self.binary, "-c", str(self.config)]), self.log_path, env)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError, requests.RequestException, KeyError):
                answer = await asyncio.to_thread(requests.get, f"http://127.0.0.1:{self.port}/channels", timeout=5)
                self.truth.epochs[answer.headers["Sluice-Cursor"].rsplit(".", 1)[0]] = self.truth.life
                self.running = True
                return
            if time.monotonic() > end or self.process.child.poll() is not None:
                raise RuntimeError(f"{self.name} does not start: " + self.process.text()[-2000:])
            await asyncio.sleep(0.02)

    def check_alive(self):
        if self.running and self.process.child.poll() is not None:
            self.running = False
            self.findings.add("crash", f"{self.name} ended with {self.process.child.returncode}:\n" + self.process.text()[-3000:])

    def check_log(self):
        found = SANITIZER.search(self.process.text())
        if found:
            at = found.start()
            self.findings.add("sanitizer", f"{self.name}:\n" + self.process.text()[at:at + 3000])

    async def kill(self):
        self.running = False
        self.process.end()
        self.check_log()
        if self.truth.life > 5:
            with contextlib.suppress(OSError):
                (self.directory / f"{self.name}-{self.truth.life - 5}.log").unlink()

    async def term(self, timeout=20):
        """SIGTERM: it must end by itself, with 0."""
        self.check_alive()
        if not self.running:
            return
        self.running = False
        self.process.signal(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(self.process.wait, timeout)
            if status:
                self.findings.add("exit status", f"{self.name}: {status} after SIGTERM:\n" + self.process.text()[-3000:])
        except subprocess.TimeoutExpired:
            self.findings.add("exit status", f"{self.name}: still there {timeout} s after SIGTERM")
        await self.kill()

    async def reload(self, broken):
        """SIGHUP, and the log must say what became of it."""
        if not self.running:
            return False
        mark = len(self.process.text())
        self.write(broken)
        self.process.signal(signal.SIGHUP)
        if broken:
            end = time.monotonic() + 15
            while time.monotonic() < end and "yaml:" not in self.process.text()[mark:]:
                await asyncio.sleep(0.1)
            if self.running and "yaml:" not in self.process.text()[mark:]:
                self.findings.add("reload", f"{self.name}: no word about an invalid file within 15 s")
            self.write()
        return True

    def usage(self):
        """(resident bytes, descriptors), or None while it is away."""
        if not self.running:
            return None
        try:
            pid = self.process.child.pid
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            return (int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024, len(os.listdir(f"/proc/{pid}/fd")))
        except (OSError, AttributeError):
            return None
