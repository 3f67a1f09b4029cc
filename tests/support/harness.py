"""Starts real brokers and real gateways for the integration tests, and leaves none behind.

Everything runs on loopback with free ports; waiting is always for a condition, never for a time.
"""
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SLUICE_BINARY", str(ROOT / "build/release/sluice"))
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
SANITIZED = "/asan/" in BINARY or "/tsan/" in BINARY


def wait_until(condition, timeout=10.0, what="the condition", interval=0.01):
    """Polls every `interval` seconds until condition() is truthy and returns that; AssertionError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        threading.Event().wait(interval)


def free_port():
    """One from below those that the system gives to connections, so that none of them takes it in between."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, max(low, 20000))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def descriptors(pid):
    """How many the process has open. Another user's, or one that hides itself as the gateway does, only root can look into."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return len(subprocess.run(["sudo", "-n", "ls", f"/proc/{pid}/fd"], check=True, capture_output=True, text=True).stdout.split())


class Process:
    """A child with its output in a file, ended by pid and only by us."""

    def __init__(self, args, log, env=None):
        self.log = pathlib.Path(log)
        self.file = open(self.log, "wb")
        self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.file, stderr=subprocess.STDOUT,
                                      env=env)

    def text(self):
        return self.log.read_text("utf-8", "replace")

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, timeout=10):
        return self.child.wait(timeout)

    def end(self, politely=False):
        """`politely` for what has children of its own, such as nginx: they would outlive a kill."""
        if politely and self.child.poll() is None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
        if self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGCONT)
                self.child.kill()
            self.child.wait(10)
        self.file.close()


class Parent(Process):
    """One with children of its own, such as nginx and HAProxy."""

    def end(self):
        super().end(politely=True)


class Broker(Process):
    def __init__(self, directory, port=None, config="allow_anonymous true", name="mosquitto", tls=None, address="127.0.0.1"):
        self.address = address
        self.port = port or free_port()
        self.directory = pathlib.Path(directory)
        self.config = config
        self.tls = tls
        self.name = name
        self.start()

    def start(self):
        path = self.directory / f"{self.name}.conf"
        path.write_text(f"user root\nlistener {self.port} {self.address}\n{self.config}\n")
        super().__init__([MOSQUITTO, "-c", str(path)], self.directory / f"{self.name}.log")
        try:
            wait_until(self.listening, what="mosquitto to listen")
        except BaseException:
            self.end()
            raise

    def listening(self):
        assert self.child.poll() is None, self.text()
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def kill(self):
        self.end()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)


class Sluice(Process):
    """The gateway. `yaml` gets {port} of the broker and listens on a free port unless it says otherwise."""

    patience = 20  # seconds until it listens

    def __init__(self, directory, yaml, name="sluice", ready=True, binary=None):
        self.config = pathlib.Path(directory) / f"{name}.yaml"
        self.config.write_text(yaml)
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:exitcode=86", UBSAN_OPTIONS="print_stacktrace=1",
                   TSAN_OPTIONS="exitcode=87:halt_on_error=0")
        super().__init__([binary or BINARY, "-c", str(self.config)], pathlib.Path(directory) / f"{name}.log", env)
        try:
            self.port = int(wait_until(self.find_port, self.patience, "the gateway to listen"))
            self.http = f"http://127.0.0.1:{self.port}"
            self.ws = f"ws://127.0.0.1:{self.port}"
            if ready:
                self.wait_ready()
        except BaseException: # whoever asked for it never gets it, and so can't end it
            self.end()
            raise

    def find_port(self):
        assert self.child.poll() is None, self.text()
        found = re.search(r"listening on \S+:(\d+),", self.text())
        return found and found.group(1)

    def wait_ready(self, timeout=20):
        wait_until(lambda: requests.get(self.http + "/readyz", timeout=5).status_code == 200, timeout, "/readyz")

    def get(self, path, **kwargs):
        kwargs.setdefault("timeout", 15)
        return requests.get(self.http + path, **kwargs)

    def raw(self, target, method="GET", body=None, headers={}):
        """The target exactly as given: requests would tidy it up. Returns status, parsed body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def post(self, path, data=b"", **kwargs):
        kwargs.setdefault("timeout", 15)
        return requests.post(self.http + path, data=data, **kwargs)

    def metric(self, name):
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def rss(self):
        text = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, timeout=10):
        """SIGTERM, and the exit status must be 0 (also for what a sanitizer found)."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        assert status == 0, f"exit status {status}:\n{self.text()}"


class Mqtt:
    """A stock MQTT client that remembers what it got."""

    def __init__(self, port, client_id="", subscribe=(), protocol=mqtt.MQTTv311):
        self.messages = []
        self.subscribed = threading.Event()
        self.wanted = [(topic, 2) for topic in subscribe]
        self.client = mqtt.Client(client_id=client_id, protocol=protocol)
        self.client.max_inflight_messages_set(1000)
        self.client.on_message = lambda _c, _d, message: self.messages.append(message)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_connect = self.on_connect
        self.client.connect("127.0.0.1", port, 30)
        self.client.loop_start()
        wait_until(self.client.is_connected, what="the MQTT client to connect")
        if self.wanted:
            assert self.subscribed.wait(10)

    def on_connect(self, client, *_):
        if self.wanted:
            client.subscribe(self.wanted)

    def publish(self, topic, payload=b"", qos=1, retain=False):
        info = self.client.publish(topic, payload, qos, retain)
        info.wait_for_publish(15)
        assert info.is_published()

    def payloads(self, topic):
        return [message.payload for message in self.messages if message.topic == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
