"""What stock clients and hostile ones do with TLS: resumption, renegotiation, key updates, closing, slow readers, floods."""
import json
import shutil
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest
from conftest import yaml
from harness import BINARY, SANITIZED, Process, free_port, wait_until
from test_listeners import DEBUG
from test_tls import Secure
from tlsfiles import certificate, common_name, ports, with_listeners

sanitize = pytest.mark.memory
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def secure(world):
    return Secure(world, extra=DEBUG)


def s_client(port, *options, text=b"", timeout=30, wait=None):
    """openssl s_client. `wait`: standard input stays open until this has been printed."""
    child = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = bytearray()
    reader = threading.Thread(target=lambda: [output.extend(piece) for piece in iter(lambda: child.stdout.read1(65536), b"")], daemon=True)
    reader.start()
    try:
        for piece in text if isinstance(text, list) else [text]:
            child.stdin.write(piece)
            child.stdin.flush()
            time.sleep(0.2 if isinstance(text, list) else 0)  # s_client takes a command only at the beginning of what it reads
        if wait:
            wait_until(lambda: wait in output or child.poll() is not None, timeout, f"{wait} in what s_client prints")
    except BrokenPipeError:
        pass
    finally:
        try:
            child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        reader.join(5)
    return child.returncode, bytes(output)


def test_reconnecting_resumes(secure, tmp_path):
    _, output = s_client(secure.port, "-tls1_2", "-reconnect")
    assert output.count(b"Reused, TLSv1.2") == 5, output.decode()
    ticket = tmp_path / "session"
    s_client(secure.port, "-tls1_3", "-sess_out", str(ticket), "-ign_eof", text=GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    # A reload with another certificate does not end the tickets that were given out.
    cert, key = certificate(secure.cert.parent, "second", key="rsa")
    cert.replace(secure.cert)
    key.replace(secure.key)
    secure.gateway.signal(1)
    wait_until(lambda: common_name(secure.port) == "second", what="the new certificate")
    _, output = s_client(secure.port, "-tls1_3", "-sess_in", str(ticket))
    assert b"Reused, TLSv1.3" in output, output.decode()


def exchange(client, data, done):
    """Sends and reads at once until done(what was read), which is returned. In one thread: an SSL object is not for two at a time."""
    client.setblocking(False)
    left, text = memoryview(data), bytearray()
    while not done(text):
        reading, writing = True, bool(left)
        try:
            if left:
                left = left[client.send(left[:16384]):]
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            writing = False
        try:
            piece = client.recv(4096)
            assert piece, bytes(text[-2000:])
            text += piece
            continue
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            reading, writing = False, True
        assert any(select.select([client] if reading else [], [client] if writing else [], [], 15)), "nothing moved for 15 s"
    return bytes(text)


@sanitize
def test_renegotiation_is_refused(secure):
    _, output = s_client(secure.port, "-tls1_2", text=[b"R\n"], wait=b"no renegotiation")
    assert b"RENEGOTIATING" in output and b"no renegotiation" in output, output.decode()
    assert secure.get("/healthz").status_code == 200


@sanitize
def test_key_updates_are_followed(secure):
    """`K` changes the keys and asks for the same; afterwards both ways still fit together."""
    request = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    _, output = s_client(secure.port, "-tls1_3", text=[b"K\n", b"k\n", b"K\n", request], wait=b'{"status":"ok"}')
    assert b"KEYUPDATE" in output and b'{"status":"ok"}' in output, output.decode()


@sanitize
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(secure, version):
    done = subprocess.run([shutil.which("curl"), "-s", "--tlsv" + version, "--tls-max", version, "--cacert", str(secure.cert),
                           f"{secure.https}/healthz", f"{secure.https}/channels", "-d", "x", f"{secure.https}/channels/lamps/1"],
                          capture_output=True, timeout=15)
    assert done.returncode == 0, done


@sanitize
def test_one_byte_at_a_time(secure):
    """In records of one byte, and in segments of one byte."""
    with secure.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET:
            client.sendall(bytes([byte]))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    out, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    layer = secure.context.wrap_bio(back, out, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", secure.port), 15) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def step(operation):
            while True:
                try:
                    result = operation()
                except ssl.SSLWantReadError:
                    result = None
                for byte in out.read():
                    raw.sendall(bytes([byte]))
                if result is not None:
                    return result
                back.write(raw.recv(4096))

        step(lambda: layer.do_handshake() or True)
        assert step(lambda: layer.write(GET)) == len(GET)
        assert step(lambda: layer.read(4096)).startswith(b"HTTP/1.1 200")


@sanitize
def test_closing_both_ways(secure):
    """The gateway says close_notify when it ends a connection, and when the client does."""
    for request, first in ((GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False), (GET, True)):
        raw = socket.create_connection(("127.0.0.1", secure.port), 15)
        with secure.context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(request)
            text = b""
            while b'{"status":"ok"}' not in text:
                text += client.recv(4096)
            if first:
                client.unwrap()  # raises unless the other side says close_notify, too
            else:
                assert client.recv(4096) == b""  # raises SSLEOFError for an end without it
    wait_until(lambda: secure.gateway.metric("sluice_connections") == 1, what="nothing to be left")


@sanitize
def test_pipelined_requests_in_one_record(secure):
    """More requests than are read ahead: nothing that OpenSSL has decrypted already may be forgotten."""
    count = 3000
    with secure.connect() as client:
        exchange(client, GET * count, lambda text: text.count(b"HTTP/1.1 200") == count)


@sanitize
def test_large_requests_up_and_answers_down(secure):
    """Both ways at once, beyond any buffer: a body that is sent while the answers before it are not read."""
    body = json.dumps("u" * 200_000).encode()
    head = b"POST /channels/lamps/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with secure.connect(size=8192) as client:
        exchange(client, (head + body) * 10, lambda text: text.count(b'{"status":"published"}') == 10)


@sanitize
def test_failed_handshakes_are_told_in_words(secure):
    gateway = secure.gateway
    with socket.create_connection(("127.0.0.1", secure.port), 15) as raw:
        raw.sendall(GET)
        raw.settimeout(15)
        try:
            while raw.recv(4096):
                pass
        except ConnectionResetError:
            pass
    wait_until(lambda: "TLS handshake failed: the client speaks plain HTTP" in gateway.text(), what="the reason")
    with pytest.raises(ssl.SSLCertVerificationError):
        secure.connect(ssl.create_default_context())
    wait_until(lambda: "does not know the authority" in gateway.text(), what="the reason")
    assert s_client(secure.port, "-tls1_2", "-cipher", "AES128-SHA")[0] != 0
    wait_until(lambda: "TLS handshake failed: no shared cipher" in gateway.text(), what="the reason")
    assert s_client(secure.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")[0] != 0
    wait_until(lambda: "TLS handshake failed: unsupported protocol" in gateway.text(), what="the reason")
    socket.create_connection(("127.0.0.1", secure.port), 15).close()
    wait_until(lambda: "the client closed the connection before it was complete" in gateway.text(), what="the reason")


def test_a_key_that_openssl_refuses(world):
    """At the start, and at a reload: which file, and why."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-keyout", world.directory / "weak.key",
                    "-out", world.directory / "weak.pem"], check=True, capture_output=True)
    cert, key = world.directory / "weak.pem", world.directory / "weak.key"
    broker = world.broker()
    config = world.directory / "weak.yaml"
    config.write_text(yaml(broker.port, listen=f"127.0.0.1:{free_port()}\n    tls: {{ cert_file: {cert}, key_file: {key} }}"))
    done = subprocess.run([BINARY, "-c", str(config)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and str(cert) in done.stderr and "key too small" in done.stderr, done.stderr
    secure = Secure(world)
    secure.cert.write_bytes(cert.read_bytes())
    secure.key.write_bytes(key.read_bytes())
    secure.gateway.signal(1)
    wait_until(lambda: "keeps its certificate" in secure.gateway.text(), what="the refusal")
    assert f"{secure.cert}" in secure.gateway.text() and "key too small" in secure.gateway.text()
    assert common_name(secure.port) == "first"


def client_hello():
    """As Python's ssl makes it."""
    out = ssl.MemoryBIO()
    layer = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        layer.do_handshake()
    return out.read()


@sanitize
def test_a_flood_of_handshakes_holds_nobody_up(world):
    """Thousands of complete ClientHellos whose answers nobody reads, each worth a signature with RSA."""
    secure = Secure(world, extra="web: { request_timeout: 5s }\nlimits: { connections: 4000, connections_per_address: 4000 }\n")
    cert, key = certificate(secure.cert.parent, "second", key="rsa")
    cert.replace(secure.cert)
    key.replace(secure.key)
    secure.gateway.signal(1)
    wait_until(lambda: common_name(secure.port) == "second", what="the certificate with RSA")
    hello, held, delays = client_hello(), [], []
    with socket.create_connection(("127.0.0.1", secure.gateway.port), 15) as plain:
        plain.sendall(b"GET /sse?channel=rooms/f/t HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b""
        while b"retry:" not in text:
            text += plain.recv(4096)
        for number in range(1500):
            raw = socket.create_connection(("127.0.0.1", secure.port), 15)
            raw.sendall(hello)
            held.append(raw)
        for number in range(20):  # while the handshakes are being done
            begun = time.monotonic()
            secure.client.client.publish("rooms/f/t", str(number))
            text = b""
            while b"data:" not in text:
                text += plain.recv(4096)
            delays.append(time.monotonic() - begun)
    for raw in held:
        raw.close()
    if not SANITIZED:
        assert sorted(delays)[10] < 0.1, delays  # 1,500 signatures take a second and more
    assert secure.connect(trusting(cert.parent / "first.pem")).version()


def trusting(cert):
    return ssl.create_default_context(cafile=str(cert))


@sanitize
def test_haproxy_with_proxy_v2_before_tls(world):
    cert, key = certificate(world.directory, "behind")
    listener = f"  - address: 127.0.0.1:0\n    proxy_protocol: true\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n"
    gateway = world.sluice(with_listeners(yaml(world.broker().port, extra="web: { trusted_proxies: [127.0.0.0/8] }\n" + DEBUG), listener))
    front = free_port()
    config = world.directory / "haproxy.cfg"
    config.write_text("defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
                      f"frontend f\n  bind 127.0.0.1:{front}\n  default_backend b\n"
                      f"backend b\n  server s 127.0.0.1:{ports(gateway)[1]} send-proxy-v2\n")
    world.keep(Process([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(config)], world.directory / "haproxy.log"))

    def reaches():
        try:
            with socket.create_connection(("127.0.0.1", front), 5):
                return True
        except OSError:
            return False

    wait_until(reaches, what="haproxy")
    for _ in range(3):
        raw = socket.create_connection(("127.0.0.1", front), 15)
        with trusting(cert).wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(GET)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert "with TLS: /healthz" in gateway.text()
