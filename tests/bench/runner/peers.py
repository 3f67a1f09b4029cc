"""The servers that are measured: how each is started on loopback, and what its clients speak.

Every measurement gets a broker and a server of its own, so none has a past. MQTT-fed servers are subscribed to TOPIC/# at the
broker before the first client comes; nchan, which knows no MQTT, gets POSTs straight from the load generator.
"""
import contextlib
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
PEERS = ROOT / "tests/bench/peers"
BUILD = ROOT / "build/release"
TOPIC = "bench"
PATIENCE = 20.0


def program(name):
    return shutil.which(name) or f"/usr/sbin/{name}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A child with its output in a file; ended by its pid."""

    def __init__(self, args, log):
        self.log = pathlib.Path(log)
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def wait_for(self, condition, what):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        raise RuntimeError(f"{what}: not in {PATIENCE} s\n{self.log.read_text('utf-8', 'replace')[-2000:]}")

    def port_in_log(self):
        return int(self.wait_for(lambda: re.search(r"listening on \S+:(\d+)", self.log.read_text("utf-8", "replace")),
                                 "a line that says where it listens").group(1))

    def wait_port(self, port):
        def open_now():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        self.wait_for(open_now, f"listening on {port}")

    def children(self):
        path = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(5)


class Broker(Process):
    def __init__(self, directory):
        self.port, self.ws_port = free_port(), free_port()
        path = pathlib.Path(directory) / "mosquitto.conf"
        # Nothing may be dropped, and Nagle's algorithm would hold single messages back.
        path.write_text(f"user root\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type error\n"
                        f"max_queued_messages 0\nmax_inflight_messages 0\n"
                        f"listener {self.port} 127.0.0.1\n"
                        f"listener {self.ws_port} 127.0.0.1\nprotocol websockets\n")
        super().__init__([program("mosquitto"), "-c", str(path)], pathlib.Path(directory) / "mosquitto.log")
        self.wait_port(self.port)
        self.wait_port(self.ws_port)


class Peer:
    """One server as clients of one kind see it. `server()` starts it and returns (process, port, pids)."""

    def __init__(self, name, title, protocol, path="", publish="mqtt"):
        self.name, self.title, self.protocol, self.path, self.publish = name, title, protocol, path, publish

    @contextlib.contextmanager
    def running(self, directory):
        """Yields the load generator's options."""
        broker = Broker(directory)
        process = None
        try:
            process, port, pids = self.server(pathlib.Path(directory), broker)
            yield {"protocol": self.protocol, "path": self.path, "topic": TOPIC, "port": port, "publish": self.publish,
                   "publish_port": port if self.publish == "nchan" else broker.port,
                   "server": ",".join(map(str, pids)),
                   "broker": "" if process is broker else broker.child.pid}
        finally:
            if process and process is not broker:
                process.end()
            broker.end()


class Floor(Peer):
    def __init__(self, name, title, *mode):
        super().__init__(name, title, *(("mqtt", "/mqtt") if "qos1" in mode else ("raw", "/")))
        self.mode = mode

    def server(self, directory, broker):
        process = Process([BUILD / "tests/bench/floor", str(broker.port), TOPIC, *self.mode], directory / "floor.log")
        return process, process.port_in_log(), [process.child.pid]


class Sluice(Peer):
    def __init__(self, name, title, protocol, path, workers=1, more=""):
        super().__init__(name, title, protocol, path)
        self.workers = workers
        self.more = more

    def program(self):
        return [BUILD / "sluice"]

    def server(self, directory, broker):
        # The history is as long as nchan's buffer: polls that come late must find everything.
        (directory / "sluice.yaml").write_text(
            f"broker: {{ url: 'mqtt://127.0.0.1:{broker.port}' }}\nlisten: [{{ address: '127.0.0.1:0' }}]\nworkers: {self.workers}\n"
            f"routes: [{{ topic: '{TOPIC}/+', qos: 1, history: {{ count: 2000 }} }}]\n{self.more}\n")
        process = Process([*self.program(), "-c", str(directory / "sluice.yaml")], directory / "sluice.log")
        port = process.port_in_log()

        def ready():
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200
        process.wait_for(ready, "/readyz")
        return process, port, [process.child.pid]


class WithoutRing(Sluice):
    """As in most containers, which refuse io_uring."""

    def program(self):
        return [BUILD / "tests/bench/nouring", BUILD / "sluice"]


class Named:
    """A server that a scenario's own program starts."""

    def __init__(self, name, title):
        self.name, self.title = name, title


class Nchan(Peer):
    CONFIG = """
{modules}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log error;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /ready {{ return 204; }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher;
      nchan_channel_id $1;
      nchan_message_buffer_length 2000;
      nchan_message_timeout 10m;
    }}
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber;
      nchan_channel_id $1;
      nchan_subscriber_first_message oldest;
    }}
  }}
}}
"""

    def server(self, directory, broker):
        port = free_port()
        module = pathlib.Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
        if not module.exists():
            raise RuntimeError(f"{module} is not there: package libnginx-mod-nchan")
        (directory / "nginx.conf").write_text(self.CONFIG.format(directory=directory, port=port, modules=f"load_module {module};"))
        process = Process([program("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf")], directory / "nginx.log")
        process.wait_port(port)
        return process, port, [process.child.pid, *process.wait_for(process.children, "nginx's worker")]


class Node(Peer):
    def __init__(self, name, title, protocol, script):
        super().__init__(name, title, protocol, "/")
        self.script = script

    def server(self, directory, broker):
        process = Process(["node", str(PEERS / self.script), str(broker.port), TOPIC], directory / "node.log")
        return process, process.port_in_log(), [process.child.pid]


class Mosquitto(Peer):
    def server(self, directory, broker):
        return broker, broker.ws_port, [broker.child.pid]


ALL = [
    Floor("floor", "floor: one send() a client and message"),
    Floor("joined", "floor that joins what waits", "joined"),
    Floor("floor-mqtt", "floor of MQTT at QoS 1: joins, numbers, reads acknowledgements", "qos1"),
    Sluice("sluice-ws", "Sluice, /ws", "sluice-ws", "/ws"),
    Sluice("sluice-raw", "Sluice, raw socket", "raw", "/channels/"),
    Sluice("sluice-sse", "Sluice, SSE", "sse", "/sse?channel="),
    Sluice("sluice-poll", "Sluice, long-poll", "sluice-poll", "/poll?channel="),
    Sluice("sluice-2w", "Sluice, /ws, workers: 2", "sluice-ws", "/ws", 2),
    Sluice("sluice-socketio", "Sluice, Socket.IO", "socketio", "/socket.io/", more="socketio: { events: { subscribe: join } }"),
    Sluice("sluice-socketio-poll", "Sluice, Socket.IO by polling", "socketio-poll", "/socket.io/", more="socketio: true"),
    Sluice("sluice-mqtt", "Sluice, MQTT", "mqtt", "/mqtt", more="mqtt: true"),
    Nchan("nchan-ws", "nchan, WebSocket", "raw", "/sub/", "nchan"),
    Nchan("nchan-sse", "nchan, SSE", "sse", "/sub/", "nchan"),
    Nchan("nchan-poll", "nchan, long-poll", "nchan-poll", "/sub/", "nchan"),
    Node("node-ws", "Node, ws + mqtt.js", "raw", "bridge.mjs"),
    Mosquitto("mosquitto", "mosquitto's WebSocket listener", "mqtt"),
    Node("socketio", "Socket.IO fed by mqtt.js", "socketio", "socketio.mjs"),
    WithoutRing("sluice-send", "Sluice, /ws, without io_uring", "sluice-ws", "/ws"),
    Named("libmosquitto", "libmosquitto and a callback that counts"),
    Named("sluice", "Sluice"),
    Named("sluice-tls", "Sluice, TLS"),
    Named("sluice-disk", "Sluice, kept on disk"),
    Named("sluice-token", "Sluice, one token for all"),
    Named("sluice-tokens", "Sluice, a token each"),
    Named("sluice-filters", "Sluice, 50 filters each that overlap"),
    Named("sluice-fields", "Sluice, an identity each, `fields`"),
    Named("sluice-own", "Sluice, an identity each with its own name in its grants, `fields`"),
    Named("nchan", "nchan"),
    Named("nchan-tls", "nginx with nchan, TLS"),
]
