"""The proxies of docs/operations.md as they stand there, in front of real gateways; only addresses and files are others."""
import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess

import pytest
import requests
import websockets
from conftest import yaml
from documents import document
from harness import Parent, free_port, wait_until
from tlsfiles import certificate, ports, with_listeners
from wsclient import Ws, dial

PAGE = document("docs/operations.md")
LOG = "log: { level: debug }\n"
TRUSTED = "web: { trusted_proxies: 127.0.0.1, heartbeat: 1s }\n" + LOG


def snippet(language, *words):
    found = [block.text for block in PAGE.blocks if block.language == language and block.words == list(words)]
    assert len(found) == 1, (language, words)
    return found[0]


def put(text, **changes):
    for old, new in changes.values():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


class Front:
    """A proxy that runs, with TLS, and what is asked of any of them."""

    def __init__(self, world, name, command, port, cert):
        self.port, self.cert = port, str(cert)
        self.https = f"https://localhost:{port}"
        self.process = world.keep(Parent(command, world.directory / f"{name}.log"))
        wait_until(self.answers, 20, f"{name} to pass something on")

    def answers(self):
        assert self.process.child.poll() is None, self.process.text()
        with contextlib.suppress(requests.ConnectionError):
            return self.get("/healthz").status_code == 200
        return False

    def get(self, path, **kwargs):
        return requests.get(self.https + path, verify=self.cert, timeout=15, **kwargs)

    def dial(self, origin):
        context = ssl.create_default_context(cafile=self.cert)
        return dial(f"wss://localhost:{self.port}/ws", {"Origin": origin}, ssl=context)


def nginx(world, backend, text=None):
    port = free_port()
    cert, key = certificate(world.directory, "dash")
    text = put(text or snippet("nginx"), a=("127.0.0.1:8080", f"127.0.0.1:{backend}"), b=("listen 443", f"listen 127.0.0.1:{port}"),
               c=("/etc/ssl/dash.example.pem", cert), d=("/etc/ssl/dash.example.key", key), e=("dash.example", "localhost"))
    paths = "".join(f"{kind}_temp_path {world.directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    file = world.directory / "nginx.conf"
    file.write_text(("user root;" if os.getuid() == 0 else "") + f"daemon off; pid {world.directory}/nginx.pid; error_log {world.directory}/nginx-error.log;\n"
                    f"worker_processes 1; events {{ worker_connections 64; }}\nhttp {{ access_log off; {paths}\n{text}}}\n")
    os.chmod(world.directory, 0o755)
    return Front(world, "nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file), "-p", str(world.directory)], port, cert)


def haproxy(world, text):
    port = free_port()
    cert, key = certificate(world.directory, "dash")
    (world.directory / "both.pem").write_text(cert.read_text() + key.read_text())
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}").replace("/etc/haproxy/dash.example.pem", str(world.directory / "both.pem"))
    (world.directory / "haproxy.cfg").write_text(text)
    return Front(world, "haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(world.directory / "haproxy.cfg")], port, cert)


async def everything(front, gateway, client):
    """What goes wrong behind a proxy that is not told better."""
    origin = front.https
    async with front.dial(origin) as socket:  # Upgrade; and Host has its port, or the origin would be refused
        ws = Ws(socket)
        await ws.until("welcome")
        await ws.subscribe("rooms/p/t")
        client.publish("rooms/p/t", "1")
        assert (await ws.until("message"))["data"] == 1
        assert (await ws.publish("lamps/p", "on"))["type"] == "published"
    with pytest.raises(websockets.InvalidHandshake):
        async with front.dial("https://elsewhere.example"):
            pass
    stream = await asyncio.to_thread(front.get, "/sse?channel=rooms/p/t&cursor=last", stream=True, headers={"Origin": origin})
    lines = stream.iter_lines(chunk_size=1)
    async def event(wanted):  # while the stream is open: nothing is collected
        return await asyncio.to_thread(lambda: next(line for line in lines if line.startswith(b"data:") and wanted in line))
    await event(b'"data":1,')
    client.publish("rooms/p/t", "2")
    await event(b'"data":2,')
    stream.close()
    assert (await asyncio.to_thread(front.get, "/poll?channel=rooms/p/t&cursor=last")).json()["messages"][0]["data"] == 2
    client.publish("lamps//%", "3")
    await asyncio.to_thread(wait_until, lambda: front.get("/channels/lamps%2F%2F%25").status_code in (200, 404))
    h2 = await asyncio.to_thread(subprocess.run, [shutil.which("curl"), "-sN", "--http2", "--cacert", front.cert, "-w", "%{http_version}",
                                                  front.https + "/channels/rooms/p/t"], capture_output=True, timeout=15)
    assert b'"data":2,' in h2.stdout
    return h2.stdout


async def everything_and_nobody_else(front, gateway, client):
    """HTTP/2 too; what is not for the public stays inside, and the address is the client's, not what it says of itself."""
    assert (await everything(front, gateway, client)).endswith(b"2")
    assert front.get("/metrics").status_code == 404
    front.get("/channels", headers={"X-Forwarded-For": "192.0.2.1"})
    wait_until(lambda: "request from ::ffff:127.0.0.1 with TLS: /channels\"" in gateway.text())
    assert "192.0.2.1" not in gateway.text()


async def test_nginx(world):
    broker = world.broker()
    gateway, client = world.sluice(yaml(broker.port, extra=TRUSTED)), world.mqtt(broker.port)
    front = nginx(world, gateway.port)
    await everything_and_nobody_else(front, gateway, client)


async def test_haproxy(world):
    broker = world.broker()
    gateway, client = world.sluice(yaml(broker.port, extra=TRUSTED)), world.mqtt(broker.port)
    front = haproxy(world, snippet("haproxy").replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}"))
    await everything_and_nobody_else(front, gateway, client)


async def test_haproxy_passes_tls_through(world):
    broker = world.broker()
    cert, key = certificate(world.directory, "dash")
    text = with_listeners(yaml(broker.port, extra=TRUSTED), f"  - address: 127.0.0.1:0\n    proxy_protocol: true\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n")
    gateway, client = world.sluice(text), world.mqtt(broker.port)
    timeouts = "defaults\n timeout connect 5s\n timeout client 120s\n timeout server 120s\n"
    port, files = free_port(), world.directory / "haproxy.cfg"
    files.write_text(timeouts + snippet("haproxy", "passthrough").replace("bind :443", f"bind 127.0.0.1:{port}").replace("127.0.0.1:8443", f"127.0.0.1:{ports(gateway)[1]}"))
    front = Front(world, "haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(files)], port, cert)
    assert (await everything(front, gateway, client)).endswith(b"1.1")


def test_haproxy_is_sticky(world):
    broker = world.broker()
    gateways = [world.sluice(yaml(broker.port, extra=TRUSTED)) for _ in range(2)]
    text = snippet("haproxy").split("\nbackend sluice")[0] + "\n" + snippet("haproxy", "several")
    front = haproxy(world, put(text, a=("127.0.0.1:8080", f"127.0.0.1:{gateways[0].port}"), b=("127.0.0.1:8081", f"127.0.0.1:{gateways[1].port}")))
    epochs = {front.get("/channels").headers["Sluice-Cursor"].split(".")[0] for _ in range(20)}
    both = {gateway.get("/channels").headers["Sluice-Cursor"].split(".")[0] for gateway in gateways}
    assert len(both) == 2 and len(epochs) == 1 and epochs <= both


async def test_apache(world):
    broker = world.broker()
    gateway, client = world.sluice(yaml(broker.port, extra=TRUSTED)), world.mqtt(broker.port)
    port = free_port()
    cert, key = certificate(world.directory, "dash")
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                      for name in ("mpm_event", "authz_core", "ssl", "http2", "proxy", "proxy_http", "headers", "alias"))
    text = put(snippet("apache"), a=("127.0.0.1:8080", f"127.0.0.1:{gateway.port}"))
    file = world.directory / "apache.conf"
    file.write_text(f"{modules}ServerName localhost\nListen 127.0.0.1:{port}\nProtocols h2 http/1.1\nPidFile {world.directory}/apache.pid\nErrorLog {world.directory}/apache-error.log\n"
                    f"{'User nobody' if os.getuid() == 0 else ''}\n<VirtualHost *:{port}>\nSSLEngine on\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\n{text}</VirtualHost>\n")
    front = Front(world, "apache", ["/usr/sbin/apache2", "-DFOREGROUND", "-d", str(world.directory), "-f", str(file)], port, cert)
    await everything_and_nobody_else(front, gateway, client)


async def test_caddy(world):
    broker = world.broker()
    gateway, client = world.sluice(yaml(broker.port, extra=TRUSTED)), world.mqtt(broker.port)
    port = free_port()
    cert, key = certificate(world.directory, "dash")
    text = put(snippet("caddyfile"), a=("127.0.0.1:8080", f"127.0.0.1:{gateway.port}"), b=("dash.example {", f"https://localhost:{port} {{\n    tls {cert} {key}"))
    file = world.directory / "Caddyfile"
    file.write_text("{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}\n" + text)
    front = Front(world, "caddy", ["/usr/bin/env", f"HOME={world.directory}", f"XDG_DATA_HOME={world.directory}", "caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
                  port, cert)
    await everything_and_nobody_else(front, gateway, client)
