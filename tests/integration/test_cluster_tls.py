"""TLS to the engine: rediss://, with certificates of both sides; and what a wrong one is told."""
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cluster
from harness import Broker, Mqtt, free_port, wait_until
from tlsfiles import certificate


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    return directory, certificate(directory, "engine"), certificate(directory, "client"), certificate(directory, "other")


@pytest.fixture
def keep():
    kept = []
    yield lambda process: kept.append(process) or process
    for process in reversed(kept):
        process.end()


def engine(port, ca=None, host="localhost", **more):
    keys = ", ".join(f"{key}: {value}" for key, value in {"ca_file": ca, **more}.items() if value is not None)
    return f'url: "rediss://{host}:{port}", tls: {{ {keys} }}' if keys else f'url: "rediss://{host}:{port}"'


@pytest.mark.parametrize("clients", ["no", "yes"])
def test_a_cluster_over_tls(tmp_path, files, keep, clients):
    """Messages of many sizes, a second node that reads the histories, and an engine that goes and comes back."""
    _, (cert, key), (own, own_key), _ = files
    broker = keep(Broker(tmp_path, config=cluster.BROKER))
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(cert.read_text() + own.read_text())
    redis = keep(cluster.Redis(tmp_path / "redis", tls=(cert, key, trusted, clients)))
    redis.ask("SET", "{test}:epoch", "tested")
    url = engine(redis.port, cert, **({"cert_file": own, "key_file": own_key} if clients == "yes" else {}))
    one = keep(cluster.Node(tmp_path, "one", broker.port, url))
    cluster.leader([one])
    device = Mqtt(broker.port)
    try:
        sizes = [1, 100, 16000, 70000, 300000]
        for i in range(50):
            device.publish("plant/1/t", '"' + "x" * sizes[i % 5] + '"')
        wait_until(lambda: one.metric("sluice_engine_appended_total") >= 50, what="all of them")
        two = keep(cluster.Node(tmp_path, "two", broker.port, url))
        wait_until(lambda: one.get("/channels/plant/1/t/history").content == two.get("/channels/plant/1/t/history").content, what="the same history")
        assert len(two.get("/channels/plant/1/t/history").json()["messages"]) > 5  # as many as history.bytes allows
        redis.end()
        wait_until(lambda: two.get("/readyz").status_code == 503, what="not ready")
        redis.start()
        for node in (one, two):
            node.wait_ready()
        cluster.leader([one, two])
        device.publish("plant/2/t", "1")
        wait_until(lambda: two.get("/channels/plant/2/t").status_code == 200, what="the message")
        one.signal(signal.SIGTERM)
        wait_until(lambda: two.leads(), what="the hand-over")
    finally:
        device.close()


def refusal(tmp_path, url, port=1):
    """What the log of a gateway says that can't reach its engine."""
    config = tmp_path / "refused.yaml"
    config.write_text(cluster.CONFIG.format(broker=f"mqtt://127.0.0.1:{port}", tls="", engine=url, node="n", lease="1500ms", log=100000, workers=1,
                                            routes=cluster.ROUTES, extra=""))
    child = subprocess.Popen([cluster.BINARY, "-c", str(config)], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    lines = []
    try:
        for line in child.stdout:
            lines.append(line)
            if "waiting for" in line or "engine.valkey" in line:
                return line
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    raise AssertionError("".join(lines))


def test_what_is_wrong_is_said(tmp_path, files, keep):
    directory, (cert, key), (own, own_key), (other, _) = files
    redis = keep(cluster.Redis(tmp_path / "redis", tls=(cert, key, own, "yes")))
    port = redis.port
    good = {"cert_file": own, "key_file": own_key}
    for url, expected in (
        (engine(port), "is self-signed: set engine.valkey.tls.ca_file to this very certificate"),
        (engine(port, other), "is self-signed: set engine.valkey.tls.ca_file to this very certificate"),
        (engine(port, cert), "the engine wants a client certificate: set engine.valkey.tls.cert_file and key_file"),
        (engine(port, cert, cert_file=other, key_file=directory / "other.key"), "the engine does not take our client certificate (engine.valkey.tls.cert_file)"),
        (engine(port, cert, host="127.0.0.2", **good), "the certificate is for localhost, 127.0.0.1, and not for '127.0.0.2': use one of these names in engine.valkey.url"),
        (engine(redis.plain, cert), "it does not answer in the TLS handshake: is the port that of its TLS listener?"),
        (engine(free_port(), cert), "Connection refused"),
        (engine(port, key), "engine.valkey.tls.ca_file: can't use"),
        (engine(port, cert, cert_file=own, key_file=key), "engine.valkey.tls.key_file: can't use"),
        (f'url: "redis://localhost:{port}"', "connection"),
    ):
        said = refusal(tmp_path, url)
        assert expected in said, (url, said)


@pytest.mark.parametrize("url, expected", [
    ('url: "redis://v", tls: { ca_file: CA }', "engine.valkey.tls: it is for TLS only (rediss:// in valkey.url expected)"),
    ('url: "rediss://v", tls: { cert_file: CA }', "engine.valkey.tls.cert_file: a certificate and its key go together"),
    ('url: "rediss://v", tls: { ca_file: /no/such }', "engine.valkey.tls.ca_file: can't read '/no/such'"),
])
def test_the_check_says_so(tmp_path, files, url, expected):
    config = tmp_path / "check.yaml"
    config.write_text(cluster.CONFIG.format(broker="mqtt://127.0.0.1", tls="", engine=url.replace("CA", str(files[1][0])), node="n", lease="2s", log=100000,
                                            workers=1, routes=cluster.ROUTES, extra=""))
    done = subprocess.run([cluster.BINARY, "check", str(config)], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and expected in done.stdout + done.stderr, done.stdout + done.stderr
