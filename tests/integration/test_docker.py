"""docker/ as far as it can be checked without a container engine: its files are parsed by real tools, and what they
configure is run: a mosquitto with the passwords that setup.sh makes, the gateway, the devices, nginx in front.

tests/docker/containers.py builds the image and brings compose.yaml up, with podman and with dockerd; tests/docker/without_engine.py
carries out the Dockerfile in chroots and measures the image.
"""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import jwt
import pytest
import requests
import websockets
import yaml
from harness import BINARY, MOSQUITTO, ROOT, Mqtt, Process, Sluice, free_port, wait_until

DOCKER = ROOT / "docker"
PROFILES = ["demo", "monitoring", "tls", "cluster"]
NODES = {"one", "two", "three"}
NOFILE = 16384


def run(*args, **kwargs):
    kwargs.setdefault("timeout", 60)
    return subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **kwargs)


# The Dockerfile

def instructions(path):
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M)
    return [tuple(line.split(None, 1)) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["Dockerfile", "simulator/Dockerfile"])
def test_dockerfiles(name):
    found = instructions(DOCKER / name)
    known = {"FROM", "ARG", "LABEL", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in found} <= known
    assert "<<" not in (DOCKER / name).read_text()  # no here-documents: any builder can read it
    assert {rest.split(" AS ")[0].strip() for word, rest in found if word == "FROM"} == {"debian:bookworm-slim"}
    last = {word: rest for word, rest in found}  # of each instruction the one that counts
    assert int(last["USER"].split(":")[0]) >= 1000
    for word in {"ENTRYPOINT", "CMD"} & set(last):
        assert isinstance(json.loads(last[word]), list), f"{word} must have the exec form, for signals to process 1"
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in found:
        if word == "COPY" and not rest.startswith("--from"):
            for source in shlex.split(rest)[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == entry or entry.startswith(source + "/") or source.startswith(entry + "/")
                           for entry in allowed), f".dockerignore keeps {source} out"


def test_image_has_health_labels_and_every_library():
    found = instructions(DOCKER / "Dockerfile")
    last = {word: rest for word, rest in found}
    probe = json.loads(last["HEALTHCHECK"].split("CMD", 1)[1])
    assert probe == ["/usr/bin/sluice", "healthcheck"]
    for label in ("title", "description", "version", "revision", "source", "licenses"):
        assert f"org.opencontainers.image.{label}=" in last["LABEL"]
    version = re.search(r"project\(sluice VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert f"VERSION={version}" in [rest for word, rest in found if word == "ARG"]
    # Whatever ./dev needs for a build, the image's build stage needs too.
    packages = re.search(r"PACKAGES_BUILD=\((.*?)\)", (ROOT / "dev").read_text(), re.S).group(1).split()
    installed = " ".join(rest for word, rest in found if word == "RUN").split()
    assert [package for package in packages if package not in installed] == []


def test_collect(tmp_path):
    """The image's tree as collect.sh makes it, here of this machine's own packages."""
    base = tmp_path / "base"
    base.write_text("libc6\nzlib1g\nlibcap2\n")
    out = tmp_path / "image"
    result = run("sh", DOCKER / "collect.sh", BINARY, out, base)
    assert result.returncode == 0, result.stderr
    libraries = {path.name for path in out.glob("usr/lib/*/*")}
    assert any(name.startswith("libmosquitto.so") for name in libraries)
    assert not any(name.startswith(("libc.so", "libz.so")) for name in libraries)
    wanted = [line.split()[0] for line in run("ldd", BINARY).stdout.splitlines() if "libmosquitto" in line or "libssl" in line]
    for name in wanted:
        assert (next(out.glob("usr/lib/*/")) / name).exists(), name
    assert (out / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 10000
    assert "Status: install ok installed" in (out / "var/lib/dpkg/status.d/libmosquitto1").read_text()
    assert run(out / "usr/bin/sluice", "--version").stdout.startswith("sluice ")


# compose.yaml

def compose(tmp_path, *files, profiles=PROFILES):
    """The files as docker-compose understands them. Older ones don't know `name:`, which is all that is taken out."""
    copies = []
    for file in files:
        copy = tmp_path / file
        copy.write_text(re.sub(r"^name:.*\n", "", (DOCKER / file).read_text(), flags=re.M))
        copies += ["-f", copy]
    env = dict(os.environ, COMPOSE_PROFILES=",".join(profiles))
    result = run("docker-compose", "-p", "sluice", "--project-directory", DOCKER, *copies, "config", env=env)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


@pytest.fixture
def stack(tmp_path):
    return compose(tmp_path, "compose.yaml")["services"]


def limit(ulimit):
    return ulimit if isinstance(ulimit, int) else max(ulimit.values())


def test_services_are_confined_and_bounded(stack):
    assert set(stack) == {"setup", "mosquitto", "sluice", "devices", "prometheus", "grafana", "nginx", "valkey", "balancer"} | NODES
    for name, service in stack.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service.get("mem_limit") and service.get("pids_limit"), name
        assert service["restart"] == ("no" if name == "setup" else "unless-stopped"), name
        if name not in ("setup", "devices"):
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert limit(service["ulimits"]["nofile"]) <= NOFILE, name
        for port in service.get("ports", []):
            host = port.rsplit(":", 2)[0] if isinstance(port, str) else port.get("host_ip")
            assert host == "127.0.0.1", f"{name}: {port} is open to the network"
    assert stack["mosquitto"]["image"] == "eclipse-mosquitto:2"


def test_services_wait_for_each_other(stack):
    def waits(name):
        return {other: how["condition"] for other, how in stack[name]["depends_on"].items()}
    assert waits("mosquitto") == {"setup": "service_completed_successfully"}
    assert waits("sluice") == waits("devices") == {"mosquitto": "service_healthy"}
    for node in NODES:
        assert waits(node) == {"mosquitto": "service_healthy", "valkey": "service_healthy"}
    assert waits("balancer") == dict.fromkeys(NODES, "service_healthy")
    assert waits("nginx") == waits("prometheus") == {"sluice": "service_healthy"}


def test_profiles(tmp_path):
    text = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert {name: service.get("profiles") for name, service in text.items() if service.get("profiles")} == {
        "devices": ["demo"], "prometheus": ["monitoring"], "grafana": ["monitoring"], "nginx": ["tls"],
        "valkey": ["cluster"], "balancer": ["cluster"], **dict.fromkeys(NODES, ["cluster"])}
    assert {"setup", "mosquitto", "sluice"} <= set(compose(tmp_path, "compose.yaml", profiles=["demo"])["services"])


def test_the_gateways_of_the_cluster_share_a_file_that_is_good(stack, tmp_path):
    assert len({stack[node]["hostname"] for node in NODES}) == 3  # their names among each other
    (tmp_path / "mqtt_password").write_text("x\n")
    env = dict(os.environ, MQTT_PASSWORD_FILE=str(tmp_path / "mqtt_password"))
    checked = run(BINARY, "check", DOCKER / "cluster/sluice.yaml", env=env)
    assert checked.returncode == 0, checked.stderr
    assert "noeviction" in stack["valkey"]["command"] and not stack["valkey"].get("ports")


def test_mounted_paths_exist(stack):
    for name, service in stack.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else volume.get("source", "")
            if source.startswith("/"):
                assert os.path.exists(source), f"{name} mounts {source}"
                assert os.path.realpath(source).startswith(str(DOCKER)), source
    assert os.access(DOCKER / "nginx/certificate.sh", os.X_OK)  # nginx's image runs executable files only


def test_no_password_is_written_down(stack):
    for name, service in stack.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", key):
                assert value.startswith("/secrets/"), f"{name}: {key}"


def test_secrets_of_ones_own(tmp_path):
    config = compose(tmp_path, "compose.yaml", "compose.secrets.yaml")
    secret = config["secrets"]["own_mqtt_password"]
    assert secret["file"].endswith("docker/secrets/mqtt_password")
    assert config["services"]["sluice"]["environment"]["MQTT_PASSWORD_FILE"] == "/run/secrets/own_mqtt_password"


# What they configure, running

def make_secrets(directory, *args):
    return run("sh", DOCKER / "setup/setup.sh", *args, env=dict(os.environ, SECRETS=str(directory)))


class Stack:
    """The services of compose.yaml as processes: their own files, with ports and folders of this machine."""

    def __init__(self, world):
        self.world, self.directory = world, world.directory
        self.secrets = self.directory / "secrets"
        self.port = free_port()
        result = make_secrets(self.secrets)
        assert result.returncode == 0, result.stderr
        if os.getuid() == 0:  # setup gives each service its own; here all are root, who in Sluice's sandbox is nobody special
            for path in self.secrets.rglob("*"):
                os.chown(path, 0, 0)
        text = (DOCKER / "mosquitto/mosquitto.conf").read_text()
        (self.directory / "data").mkdir()
        shutil.copy(DOCKER / "mosquitto/acl", self.directory / "acl")
        for old, new in {"listener 1883": f"listener {self.port} 127.0.0.1", "/mosquitto/secrets": f"{self.secrets}/mosquitto",
                         "/mosquitto/config": f"{self.directory}", "/mosquitto/data": f"{self.directory}/data"}.items():
            assert old in text
            text = text.replace(old, new)
        self.conf = self.directory / "mosquitto.conf"
        self.conf.write_text(text + ("user root\n" if os.getuid() == 0 else ""))
        self.start_broker()
        self.gateway_env = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(self.port), "SLUICE_LISTEN": "127.0.0.1:0",
                            "MQTT_PASSWORD_FILE": str(self.secrets / "sluice/mqtt_password")}

    def start_broker(self):
        self.broker = self.world.keep(Process([MOSQUITTO, "-c", str(self.conf)], self.directory / "mosquitto.log"))
        wait_until(self.answers, what="mosquitto to listen")

    def answers(self):
        assert self.broker.child.poll() is None, self.broker.text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def password(self, service, name="mqtt_password"):
        return (self.secrets / service / name).read_text()

    def connects(self, name=None, password=None):
        args = ["mosquitto_pub", "-h", "127.0.0.1", "-p", self.port, "-t", "x", "-n"]
        return run(*args, *(["-u", name, "-P", password] if name else [])).returncode == 0

    def healthy(self, secrets=None):
        test = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["mosquitto"]["healthcheck"]["test"]
        args = [str(self.port) if arg == "1883" else arg.replace("$$", "$") for arg in test[1:]]
        return run(*args, env=dict(os.environ, XDG_CONFIG_HOME=str(secrets or self.secrets / "mosquitto"))).returncode == 0

    def gateway(self, text=None):
        text = text or (DOCKER / "sluice/sluice.yaml").read_text()
        os.environ.update(self.gateway_env)
        try:
            return self.world.keep(Sluice(self.directory, text))
        finally:
            for name in self.gateway_env:
                del os.environ[name]


@pytest.fixture
def pieces(world):
    return Stack(world)


def test_passwords_make_themselves(tmp_path):
    assert make_secrets(tmp_path / "a").returncode == 0
    first = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*password")}
    assert len(first) == 4 and len(set(first.values())) == 4
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in first.values())
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    again = make_secrets(tmp_path / "a")
    assert again.returncode == 0 and "made" not in again.stdout
    assert first == {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*password")}
    assert make_secrets(tmp_path / "b").returncode == 0
    assert (tmp_path / "b/sluice/mqtt_password").read_text() not in first.values()
    for args in (["user"], ["user", "a:b"], ["user", "sluice"], ["nonsense"]):
        assert make_secrets(tmp_path / "a", *args).returncode != 0, args


def test_broker_with_passwords(pieces):
    assert not pieces.connects() and not pieces.connects("sluice", "wrong")
    assert pieces.connects("sluice", pieces.password("sluice")) and pieces.connects("devices", pieces.password("devices"))
    assert pieces.healthy()
    assert not pieces.healthy(pieces.directory)  # without the password there


def test_a_user_for_a_device(pieces):
    result = make_secrets(pieces.secrets, "user", "lamp1")
    password = re.search("user lamp1, password ([0-9a-f]{48})", result.stdout).group(1)
    pieces.broker.signal(signal.SIGHUP)
    wait_until(lambda: pieces.connects("lamp1", password), what="the broker to know lamp1")
    lamp, devices = ["lamp1", password], ["devices", pieces.password("devices")]
    for (user, secret), topic in ((lamp, "lamp2/state"), (lamp, "lamp1/state"), (devices, "other/state")):
        run("mosquitto_pub", "-h", "127.0.0.1", "-p", pieces.port, "-u", user, "-P", secret, "-q", "1", "-r", "-t", topic, "-m", "ON")
    kept = run("mosquitto_sub", "-h", "127.0.0.1", "-p", pieces.port, "-u", "sluice", "-P", pieces.password("sluice"),
               "-t", "+/state", "-C", "2", "-W", "5", "-F", "%t")
    assert sorted(kept.stdout.split()) == ["lamp1/state", "other/state"]  # lamp2 is not lamp1's


def test_broker_keeps_its_retained_values(pieces):
    user = ["-h", "127.0.0.1", "-p", pieces.port, "-u", "devices", "-P", pieces.password("devices")]
    assert run("mosquitto_pub", *user, "-r", "-q", "1", "-t", "zigbee2mqtt/lamp", "-m", '{"state":"ON"}').returncode == 0
    pieces.broker.signal(signal.SIGTERM)
    assert pieces.broker.wait() == 0
    pieces.start_broker()
    assert run("mosquitto_sub", *user, "-C", "1", "-W", "5", "-t", "zigbee2mqtt/lamp").stdout == '{"state":"ON"}\n'


def test_gateway_and_devices(pieces):
    file = DOCKER / "sluice/sluice.yaml"
    checked = run(BINARY, "check", file, env=dict(os.environ, **pieces.gateway_env))
    assert checked.returncode == 0 and ": OK, " in checked.stdout, checked.stderr
    gateway = pieces.gateway()
    command = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["devices"]["command"]
    where = {"mosquitto": "127.0.0.1", "/secrets/mqtt_password": str(pieces.secrets / "devices/mqtt_password")}
    pieces.world.keep(Process([sys.executable, str(DOCKER / "simulator/simulator.py"), *[where.get(arg, arg) for arg in command],
                               "--port", str(pieces.port)], pieces.directory / "devices.log"))
    wait_until(lambda: gateway.get("/channels/devices/lamp_kitchen").status_code == 200, what="the simulated lamp")
    answer = gateway.post("/channels/devices/lamp_kitchen", '{"state":"ON"}')
    assert answer.json()["status"] == "published"
    wait_until(lambda: gateway.get("/channels/devices/lamp_kitchen").json()["data"]["state"] == "ON")
    # The image's health check, on the port that this gateway has.
    here = {**os.environ, **pieces.gateway_env, "SLUICE_LISTEN": f"127.0.0.1:{gateway.port}"}
    assert run(BINARY, "healthcheck", "-c", file, env=here).returncode == 0
    gateway.stop()
    assert run(BINARY, "healthcheck", "-c", file, env=here).returncode == 1


def test_authentication_switched_on(pieces):
    """The lines that sluice.yaml has for it, with the secret that setup made."""
    text = re.sub(r"^# (?=(auth|roles):|  )", "", (DOCKER / "sluice/sluice.yaml").read_text(), flags=re.M)
    document = yaml.safe_load(text)
    assert set(document["roles"]) == {"viewer", "owner"}
    pieces.gateway_env["JWT_SECRET_FILE"] = str(pieces.secrets / "sluice/jwt_secret")
    gateway = pieces.gateway(text)
    assert gateway.get("/channels/devices/lamp").status_code == 401
    secret = pieces.password("sluice", "jwt_secret")
    token = jwt.encode({"roles": ["viewer"], "exp": int(time.time()) + 60}, secret, "HS256")
    who = {"Authorization": f"Bearer {token}"}
    assert gateway.get("/channels/devices/lamp", headers=who).json()["code"] == "no_value"
    assert gateway.post("/channels/devices/lamp", "1", headers=who).status_code == 403


def test_process_1_gets_its_signals(world):
    """As in a container without an init: process 1 of its own PID namespace, which has no default handlers."""
    port = free_port()
    file = world.directory / "one.yaml"
    file.write_text(f"broker:\n  url: mqtt://127.0.0.1:{free_port()}\nlisten:\n  - address: 127.0.0.1:{port}\n"
                    "routes:\n  - topic: \"#\"\n")
    own = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    outside = world.keep(Process(["unshare", *own, "--pid", "--fork", "--kill-child", BINARY, "-c", str(file)],
                                 world.directory / "one.log"))
    wait_until(lambda: "listening" in outside.text() or outside.child.poll() is not None)
    pid = outside.child.pid
    inside = int(open(f"/proc/{pid}/task/{pid}/children").read().split()[0])
    assert re.search(r"^NSpid:.*\t1$", open(f"/proc/{inside}/status").read(), re.M)
    os.kill(inside, signal.SIGHUP)
    wait_until(lambda: "reloaded" in outside.text())
    os.kill(inside, signal.SIGTERM)
    assert outside.wait() == 0, outside.text()


# nginx in front

@pytest.fixture
def proxy(pieces):
    """docker/nginx/sluice.conf in a real nginx; returns it as https://127.0.0.1:PORT and the gateway behind it."""
    gateway = pieces.gateway()
    directory = pieces.directory / "nginx"
    certificates = directory / "certificates"
    certificates.mkdir(parents=True)
    made = run("sh", DOCKER / "nginx/certificate.sh", env=dict(os.environ, CERTIFICATES=str(certificates)))
    assert made.returncode == 0 and "made a certificate" in made.stdout, made.stderr
    assert run("sh", DOCKER / "nginx/certificate.sh", env=dict(os.environ, CERTIFICATES=str(certificates))).stdout == ""
    port = free_port()
    text = (DOCKER / "nginx/sluice.conf").read_text()
    for old, new in {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "/etc/nginx/certificates": str(certificates),
                     "http://sluice:8080": gateway.http}.items():
        assert old in text
        text = text.replace(old, new)
    (directory / "sluice.conf").write_text(text)
    folders = "".join(f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log;\nevents {{}}\nhttp {{\n{folders}"
        f"include {directory}/sluice.conf;\n}}\n")
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    args = [nginx, "-p", str(directory), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    checked = run(*args, "-t")
    assert checked.returncode == 0, checked.stderr
    # As root nginx is a master and a worker; SIGTERM ends both, which a kill of the master would not.
    process = Process(args, directory / "nginx.log")
    try:
        session = requests.Session()
        session.trust_env = False  # or a bundle in the environment would count instead
        session.verify = str(certificates / "sluice.crt")
        url = f"https://127.0.0.1:{port}"

        def listens():
            assert process.child.poll() is None, (directory / "error.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listens, what="nginx to listen")
        gateway.wait_ready()
        yield url, session, gateway, pieces
    finally:
        process.signal(signal.SIGTERM)
        process.wait()
        process.end()


def test_websocket_sse_and_poll_through_nginx(proxy):
    url, session, gateway, pieces = proxy
    user = ["-h", "127.0.0.1", "-p", pieces.port, "-u", "devices", "-P", pieces.password("devices"), "-q", "1"]

    def say(topic, text):
        assert run("mosquitto_pub", *user, "-t", topic, "-m", text).returncode == 0

    assert session.get(url + "/healthz", timeout=10).status_code == 200
    assert session.get(url + "/metrics", timeout=10).status_code == 404
    # A name with a slash in it stays as it was written on its way.
    say("zigbee2mqtt/a b", '{"n":0}')
    wait_until(lambda: gateway.get("/channels/devices/a%20b").status_code == 200)
    assert session.get(url + "/channels/devices%2Fa%20b", timeout=10).json()["data"] == {"n": 0}
    assert session.post(url + "/channels/devices/lamp", '{"state":"ON"}', timeout=10).json()["status"] == "published"

    # Each event comes as it happens, while the answer goes on: nothing is collected on the way.
    with session.get(url + "/sse?channel=devices/%2B", stream=True, timeout=10) as stream:
        lines = (line for line in stream.iter_lines(chunk_size=1) if line.startswith(b"data:"))
        assert b'"n":0' in next(lines)
        for number in range(1, 4):
            say("zigbee2mqtt/lamp", f'{{"n":{number}}}')
            assert f'"n":{number}'.encode() in next(lines)
    answer = session.get(url + "/poll?channel=devices/%2B&cursor=last", timeout=10)
    assert {message["channel"] for message in answer.json()["messages"]} == {"devices/a b", "devices/lamp"}
    assert answer.headers["Sluice-Cursor"]


async def test_websocket_through_nginx(proxy):
    url, session, _gateway, _pieces = proxy
    trust = ssl.create_default_context(cafile=session.verify)
    async with websockets.connect(url.replace("https", "wss") + "/ws", ssl=trust) as ws:
        assert json.loads(await ws.recv())["type"] == "welcome"
        await ws.send(json.dumps({"type": "subscribe", "id": 1, "channel": "devices/+"}))
        assert json.loads(await ws.recv())["type"] == "subscribed"
        await ws.send(json.dumps({"type": "publish", "id": 2, "channel": "devices/lamp", "data": 1}))
        assert json.loads(await ws.recv()) == {"type": "published", "id": 2}
