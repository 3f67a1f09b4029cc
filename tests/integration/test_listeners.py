"""Listeners: Unix sockets, proxies in front (PROXY header, X-Forwarded-For, haproxy, nginx), and the bounds on connections."""
import asyncio
import contextlib
import http.client
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import pytest
import requests
import websockets
from conftest import yaml
from harness import BINARY, SANITIZED, Parent, Process, free_port, wait_until
from tlsfiles import certificate, ports, with_listeners
from wsclient import Ws

sanitize = pytest.mark.sanitize
V2 = b"\r\n\r\n\0\r\nQUIT\n"
DEBUG = "log: { level: debug }\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def everything(raw):
    text = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65536):
            text += piece
    return text


def ask(port, bytes):
    """Sends that and returns everything that comes until the end."""
    with socket.create_connection(("127.0.0.1", port), 15) as raw:
        raw.sendall(bytes)
        return everything(raw)


def ask_unix(path, bytes=HEALTH):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(15)
        raw.connect(str(path))
        raw.sendall(bytes)
        return everything(raw)


# --- Unix sockets ---------------------------------------------------------------------------------------------------


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(15)
        self.sock.connect(self.path)


@sanitize
@pytest.mark.parametrize("workers", [1, 3])
async def test_unix_socket(world, workers):
    broker, path = world.broker(), world.directory / "web.sock"
    text = with_listeners(yaml(broker.port, extra=f"workers: {workers}\n"), f"  - address: unix:{path}\n    mode: '0600'\n")
    gateway, client = world.sluice(text), world.mqtt(broker.port)
    assert f"listening on unix:{path}, {workers} worker(s)" in gateway.text()
    assert os.stat(path).st_mode & 0o777 == 0o600
    for _ in range(20):
        assert ask_unix(path).endswith(b'{"status":"ok"}')
    connection = UnixConnection(path)
    connection.request("POST", "/channels/lamps/u", b'"on"')
    assert connection.getresponse().read() == b'{"status":"published"}'
    connection.close()
    curl = subprocess.run([shutil.which("curl"), "-s", "--unix-socket", str(path), "http://x/channels/lamps/u"],
                          capture_output=True, timeout=15)
    assert b'"data":"on"' in curl.stdout
    async with websockets.unix_connect(str(path), "ws://localhost/ws") as socket_:
        ws = Ws(socket_)
        await ws.until("welcome")
        await ws.subscribe("rooms/u/t")
        for number in range(200):
            client.client.publish("rooms/u/t", str(number), 1)
        for number in range(200):
            assert (await ws.until("message"))["data"] == number
    gateway.stop()
    assert not path.exists()


def test_unix_socket_of_others_is_left_alone(world):
    broker, path = world.broker(), world.directory / "web.sock"
    text = yaml(broker.port, listen=f"unix:{path}")

    def refused(why):
        child = subprocess.run([BINARY, "-c", str(config)], capture_output=True, text=True, timeout=15)
        assert child.returncode == 1 and why in child.stderr and str(path) in child.stderr, child.stderr

    config = world.directory / "unix.yaml"
    config.write_text(text)
    path.write_text("precious")
    refused("the file exists and is no socket")
    assert path.read_text() == "precious"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        refused("another process listens there")
        assert path.exists()
    # Now nobody listens on the file that is left behind: it is replaced.
    gateway = world.keep(Process([BINARY, "-c", str(config)], world.directory / "again.log"))
    wait_until(lambda: "listening on unix:" in gateway.text())
    assert ask_unix(path).endswith(b'{"status":"ok"}')
    gateway.signal(9)
    gateway.wait()
    assert path.exists()
    last = world.keep(Process([BINARY, "-c", str(config)], world.directory / "last.log"))
    wait_until(lambda: "listening on unix:" in last.text(), what="the socket of the killed one to be replaced")
    # A file that is no longer ours at the end stays.
    path.unlink()
    path.write_text("of somebody else")
    last.signal(15)
    assert last.wait() == 0
    assert path.read_text() == "of somebody else"


@sanitize
def test_healthcheck_of_every_kind(world):
    broker, path = world.broker(), world.directory / "web.sock"
    cert, key = certificate(world.directory, "health")
    tls = f"\n    tls: {{ cert_file: {cert}, key_file: {key} }}"
    proxy = "\n    proxy_protocol: true"
    for number, address in enumerate([f"127.0.0.1:{free_port()}", f"unix:{path}", f"127.0.0.1:{free_port()}{tls}",
                                      f"127.0.0.1:{free_port()}{proxy}", f"127.0.0.1:{free_port()}{proxy}\n  - address: unix:{path}"]):
        config = world.directory / f"health{number}.yaml"
        config.write_text(yaml(broker.port, listen=address))

        def healthy():
            return subprocess.run([BINARY, "healthcheck", "-c", str(config)], capture_output=True, timeout=15)

        failed = healthy()
        assert failed.returncode == 1 and b"no answer from" in failed.stderr
        gateway = world.keep(Process([BINARY, "-c", str(config)], world.directory / f"health{number}.log"))
        wait_until(lambda: "listening on" in gateway.text())
        assert healthy().returncode == 0, healthy().stderr
        gateway.signal(15)
        assert gateway.wait() == 0, gateway.text()


# --- proxies --------------------------------------------------------------------------------------------------------


def proxied(world, listener="", extra=""):
    """A gateway with a plain listener and one for PROXY headers; returns it and the port."""
    listener = f"  - address: 127.0.0.1:0\n    proxy_protocol: true\n{listener}"
    gateway = world.sluice(with_listeners(yaml(world.broker().port, extra=extra + DEBUG), listener))
    return gateway, ports(gateway)[1]


TRUSTING = "web: { trusted_proxies: [127.0.0.0/8], request_timeout: 1s }\n"
V2_TCP4 = V2 + b"\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1") + b"\x12\x67\x01\xbb"
V2_TCP6 = (V2 + b"\x21\x21" + struct.pack(">H", 36) + socket.inet_pton(socket.AF_INET6, "2001:db8::9") + bytes(16) + b"\x12\x67\x01\xbb")


@sanitize
@pytest.mark.parametrize("header,address", [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n", "::ffff:203.0.113.9"),
    (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n", "2001:db8::9"), (b"PROXY UNKNOWN\r\n", "::ffff:127.0.0.1"),
    (V2_TCP4, "::ffff:203.0.113.9"), (V2_TCP6, "2001:db8::9"), (V2 + b"\x20\0\0\0", "::ffff:127.0.0.1")],
    ids=["v1-4", "v1-6", "v1-unknown", "v2-4", "v2-6", "v2-local"])
def test_proxy_header(world, header, address):
    gateway, port = proxied(world, extra=TRUSTING)
    assert ask(port, header + HEALTH).endswith(b'{"status":"ok"}')
    wait_until(lambda: f"request from {address}: /healthz" in gateway.text(), what="the client's address")
    # byte by byte, too
    with socket.create_connection(("127.0.0.1", port), 15) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + HEALTH:
            raw.sendall(bytes([byte]))
        assert everything(raw).endswith(b'{"status":"ok"}')


@sanitize
def test_proxy_header_must_come_and_be_right(world):
    gateway, port = proxied(world, extra=TRUSTING)
    for wrong in (HEALTH, b"PROXY TCP4 nonsense\r\n" + HEALTH, V2 + b"\x21\x11\0\x04abcd" + HEALTH, b"PROXY " + b"x" * 200):
        assert ask(port, wrong) == b""
    for slow in (b"", b"PROXY TCP4 203", V2[:8]):  # cut by request_timeout
        assert ask(port, slow) == b""
    wait_until(lambda: gateway.metric("sluice_connections") == 1)
    assert gateway.metric("sluice_requests_bad_total") >= 4


@sanitize
def test_proxy_header_from_anybody_else_is_refused(world):
    gateway, port = proxied(world, extra="web: { trusted_proxies: [192.0.2.0/24] }\n")
    assert ask(port, V2_TCP4 + HEALTH) == b""
    assert "not from web.trusted_proxies" in gateway.text()
    assert gateway.metric("sluice_connections_refused_total") == 1


@sanitize
def test_bounds_hold_for_the_address_behind_the_proxy(world):
    gateway, port = proxied(world, extra=TRUSTING + "limits: { connections_per_address: 2 }\n")

    def hold(address):
        raw = socket.create_connection(("127.0.0.1", port), 15)
        raw.sendall(f"PROXY TCP4 {address} 192.0.2.1 1 2\r\nGET /sse?channel=rooms/x/t HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return raw, raw.recv(12)

    held = [hold(f"203.0.113.{number}") for number in (1, 1, 2, 2)]
    assert all(status == b"HTTP/1.1 200" for _, status in held)
    extra, status = hold("203.0.113.1")
    assert status == b"HTTP/1.1 429"
    extra.close()
    held[0][0].close()
    wait_until(lambda: gateway.metric("sluice_connections") == 4, what="the first to be gone")
    again, status = hold("203.0.113.1")
    assert status == b"HTTP/1.1 200"
    for raw, _ in held + [(again, b"")]:
        raw.close()
    wait_until(lambda: gateway.metric("sluice_connections") == 1)


@sanitize
def test_forwarded_for_counts_only_from_trusted_proxies(world):
    broker = world.broker()
    for trusted, expected in (("127.0.0.1", "::ffff:203.0.113.9 with TLS"), ("192.0.2.1", "::ffff:127.0.0.1")):
        gateway = world.sluice(yaml(broker.port, extra=f"web: {{ trusted_proxies: [{trusted}] }}\n{DEBUG}"))
        gateway.get("/channels", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https"})
        wait_until(lambda: "/channels" in gateway.text())
        assert f"request from {expected}: /channels" in gateway.text()
        assert "6.6.6.6" not in gateway.text()


HAPROXY = """
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind 127.0.0.1:{port}
    default_backend gateway
backend gateway
    server one 127.0.0.1:{target} {send}
"""


@sanitize
@pytest.mark.parametrize("send,tls", [("send-proxy", False), ("send-proxy-v2", False), ("send-proxy-v2", True)])
async def test_behind_haproxy(world, send, tls):
    """Also in front of TLS: the header comes before the handshake."""
    cert, key = certificate(world.directory, "proxied")
    listener = f"    tls: {{ cert_file: {cert}, key_file: {key} }}\n" if tls else ""
    gateway, target = proxied(world, listener, TRUSTING)
    port = free_port()
    config = world.directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(mode="tcp" if tls else "http", port=port, target=target, send=send))
    proxy = world.keep(Process([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(config)], world.directory / "haproxy.log"))

    def listening():
        assert proxy.child.poll() is None, proxy.text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listening)
    verify, scheme = (str(cert), "https") if tls else (True, "http")
    loop = asyncio.get_running_loop()
    answer = await loop.run_in_executor(None, lambda: requests.get(f"{scheme}://localhost:{port}/healthz", verify=verify, timeout=15))
    assert answer.json() == {"status": "ok"}
    context = None
    if tls:
        import ssl
        context = ssl.create_default_context(cafile=str(cert))
    client = world.mqtt(int(re.search(r"mqtt://127.0.0.1:(\d+)", gateway.config.read_text()).group(1)))
    async with websockets.connect(f"{'wss' if tls else 'ws'}://localhost:{port}/ws", ssl=context) as socket_:
        ws = Ws(socket_)
        await ws.until("welcome")
        await ws.subscribe("rooms/h/t")
        for number in range(100):
            client.client.publish("rooms/h/t", str(number), 1)
        for number in range(100):
            assert (await ws.until("message"))["data"] == number
    wait_until(lambda: f"request from ::ffff:127.0.0.1{' with TLS' if tls else ''}: /ws" in gateway.text())


NGINX = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx-error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {dir}/nb; proxy_temp_path {dir}/np; fastcgi_temp_path {dir}/nf;
  uwsgi_temp_path {dir}/nu; scgi_temp_path {dir}/ns;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://unix:{socket}:; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


async def test_behind_nginx_by_a_unix_socket(world):
    broker, path, port = world.broker(), world.directory / "web.sock", free_port()
    gateway = world.sluice(with_listeners(yaml(broker.port, extra="web: { trusted_proxies: unix }\n" + DEBUG),
                                          f"  - address: unix:{path}\n    mode: '0666'\n"))
    os.chmod(world.directory, 0o755)
    config = world.directory / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(user + NGINX.format(dir=world.directory, port=port, socket=path))
    nginx = world.keep(Parent([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config), "-p", str(world.directory)],
                               world.directory / "nginx.log"))

    def answers():
        assert nginx.child.poll() is None, nginx.text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(answers)
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as socket_:
        await Ws(socket_).until("welcome")
    wait_until(lambda: "request from ::ffff:127.0.0.1: /ws" in gateway.text(), what="the address that nginx named")
    nginx.signal(15)
    nginx.wait()


# --- bounds ---------------------------------------------------------------------------------------------------------


@sanitize
def test_connect_rate(world):
    gateway = world.sluice(yaml(world.broker().port, extra="limits: { connect_rate: 20 }\n"))
    answers = [ask(gateway.port, HEALTH) for _ in range(60)]
    good = [answer for answer in answers if answer.startswith(b"HTTP/1.1 200 ")]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429 ")]
    assert len(good) + len(refused) == 60 and len(good) >= 15 and len(refused) >= 10
    assert all(b'"code":"rate_limited"' in answer for answer in refused)
    wait_until(lambda: ask(gateway.port, HEALTH).startswith(b"HTTP/1.1 200 "), what="tokens to come back")
    metrics = requests.Session()
    text = wait_until(lambda: (lambda answer: answer.status_code == 200 and answer.text)(metrics.get(gateway.http + "/metrics", timeout=5)))
    count = float(re.search(r"^sluice_connections_refused_rate_total (\S+)", text, re.M).group(1))
    assert count >= len(refused)
    assert "limits.connect_rate reached" in gateway.text()
    assert gateway.text().count("limits.connect_rate reached") < 10  # not once for each


@sanitize
def test_memory(world):
    gateway = world.sluice(yaml(world.broker().port, extra="limits: { memory: 2GiB }\n"))
    session = requests.Session()
    assert session.get(gateway.http + "/healthz", timeout=15).status_code == 200
    gateway.config.write_text(gateway.config.read_text().replace("2GiB", "1MiB"))
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())
    answer = wait_until(lambda: (lambda text: text.startswith(b"HTTP/1.1 503 ") and text)(ask(gateway.port, HEALTH)))
    assert b'"code":"overloaded"' in answer
    # Whoever is there stays.
    text = session.get(gateway.http + "/metrics", timeout=15).text
    assert float(re.search(r"^sluice_connections_refused_memory_total (\S+)", text, re.M).group(1)) >= 1
    assert "limits.memory reached" in gateway.text()
    gateway.config.write_text(gateway.config.read_text().replace("1MiB", "2GiB"))
    gateway.signal(1)
    wait_until(lambda: ask(gateway.port, HEALTH).startswith(b"HTTP/1.1 200 "))


@sanitize
def test_slow_requests_are_cut_and_the_others_served(world):
    """Slowloris: many connections, each with a head or a body that goes on for ever, a byte at a time."""
    gateway = world.sluice(yaml(world.broker().port, extra="web: { request_timeout: 1s }\nlimits: { connections: 300 }\n"))
    starts = (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
              b"POST /channels/lamps/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    slow = []
    for number in range(200):
        raw = socket.create_connection(("127.0.0.1", gateway.port), 15)
        raw.sendall(starts[number % 3])
        slow.append(raw)
    over = threading.Event()

    def drip():
        while not over.wait(0.1):
            for raw in slow:
                with contextlib.suppress(OSError):
                    raw.send(b"x")

    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        assert gateway.get("/healthz").status_code == 200
        wait_until(lambda: gateway.metric("sluice_connections") == 1, 10, "every slow one to be cut")
    finally:
        over.set()
        dripper.join()
        for raw in slow:
            raw.close()
    assert gateway.get("/healthz").status_code == 200


def test_a_storm_of_connections_that_say_nothing(world):
    gateway = world.sluice(yaml(world.broker().port, extra="limits: { connections: 1000 }\nweb: { request_timeout: 1s }\n"))
    held = []
    for number in range(40_000):
        raw = socket.socket()
        raw.connect(("127.0.0.1", gateway.port))
        held.append(raw)
        if len(held) == 200:
            held.pop(0).close()
        if number == 2000:
            before = gateway.rss()
    for raw in held:
        raw.close()
    wait_until(lambda: gateway.metric("sluice_connections") == 1)
    if not SANITIZED:
        assert gateway.rss() - before < 4_000_000


def test_a_port_in_use_is_an_error(world):
    """Also where another gateway of the same user has it, whose workers share it among themselves."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="workers: 2\n"))
    config = world.directory / "second.yaml"
    config.write_text(yaml(broker.port, listen=f"127.0.0.1:{gateway.port}"))
    result = subprocess.run([BINARY, "-c", str(config)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1 and f"can't listen on 127.0.0.1:{gateway.port}: bind: Address already in use" in result.stderr
    assert gateway.get("/healthz").status_code == 200
