"""TLS towards the broker: each cause of a failing handshake is told by a reason of its own, with what to do, by one line."""
import contextlib
import socket
import ssl
import subprocess
import threading
import warnings

import pytest
from conftest import yaml
from fake_broker import FakeBroker
from harness import BINARY, Process, wait_until

ROUTES = "  - topic: home/#\n    publish: {}\n"


class Authority:
    """Certificates by openssl: two CAs, one of them with an intermediate, and servers of every kind."""

    def __init__(self, directory):
        self.directory = directory
        self.ca("ca", "Our CA")
        self.ca("other", "Other CA")
        self.ca("twin", "Our CA")
        self.sign("middle", "Our Middle", "ca", "basicConstraints=critical,CA:TRUE")
        for name, parent, extra in (("server", "ca", {}), ("elsewhere", "ca", {"host": "DNS:broker.example"}),
                                    ("expired", "ca", {"dates": ("20200101000000Z", "20200201000000Z")}),
                                    ("future", "ca", {"dates": ("20980101000000Z", "20990101000000Z")}),
                                    ("below", "middle", {}), ("client", "ca", {}), ("stranger", "other", {})):
            self.sign(name, name, parent, f"subjectAltName={extra.get('host', 'IP:127.0.0.1,DNS:localhost')}", extra.get("dates"))
        (directory / "chain.crt").write_bytes((directory / "below.crt").read_bytes() + (directory / "middle.crt").read_bytes())
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "alone.key", "-out", "alone.crt", "-subj",
                     "/CN=alone", "-addext", "subjectAltName=IP:127.0.0.1")
        self.openssl("rsa", "-aes256", "-passout", "pass:secret", "-in", "client.key", "-out", "locked.key")
        for path in directory.glob("*.key"):
            path.chmod(0o644)

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=self.directory)

    def ca(self, name, subject):
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "9",
                     "-subj", f"/CN={subject}", "-addext", "basicConstraints=critical,CA:TRUE")

    def sign(self, name, subject, parent, extension, dates=None):
        (self.directory / "ext").write_text(extension + "\n")
        (self.directory / "index.txt").write_text("")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        if not dates:
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{parent}.crt", "-CAkey", f"{parent}.key", "-CAcreateserial",
                         "-days", "9", "-extfile", "ext", "-out", f"{name}.crt")
            return
        (self.directory / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n"
                                               "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        self.openssl("ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-cert", f"{parent}.crt", "-keyfile", f"{parent}.key",
                     "-create_serial", "-extfile", "ext", "-startdate", dates[0], "-enddate", dates[1], "-out", f"{name}.crt", "-notext")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


# certificate and key of the broker, what else it is told, broker.tls, what the log says
CASES = {
    "no ca_file": ("server", "", "{}", "'server' is signed by 'Our CA', which is not among the system's certificates (/etc/ssl/certs): "
                   "set broker.tls.ca_file"),
    "another CA": ("server", "", "{ ca_file: D/other.crt }", "'server' is signed by 'Our CA', which is not in broker.tls.ca_file"),
    "a CA made anew": ("server", "", "{ ca_file: D/twin.crt }", "signed by 'Our CA'"),
    "no ca_file, and the broker sends its CA": ("server", "sends", "{}", "chain ends in the CA 'Our CA', which is not in /etc/ssl/certs"),
    "another CA, and the broker sends its own": ("server", "sends", "{ ca_file: D/other.crt }", "ends in the CA 'Our CA', which is not in"),
    "self-signed": ("alone", "", "{ ca_file: D/ca.crt }", "'alone' is self-signed: set broker.tls.ca_file to this very certificate"),
    "host name": ("elsewhere", "", "{ ca_file: D/ca.crt }", "is for broker.example, and not for '127.0.0.1'"),
    "expired": ("expired", "", "{ ca_file: D/ca.crt }", "'expired' expired on Feb  1 00:00:00 2020 GMT: renew it"),
    "not yet valid": ("future", "", "{ ca_file: D/ca.crt }", "'future' is not valid before Jan  1 00:00:00 2098 GMT"),
    "missing intermediate": ("below", "", "{ ca_file: D/ca.crt }", "'below' is signed by 'Our Middle', which is not in broker.tls.ca_file"),
    "no client certificate": ("server", "require_certificate true", "{ ca_file: D/ca.crt }",
                              "wants a client certificate: set broker.tls.cert_file and key_file"),
    "no client certificate, TLS 1.2": ("server", "require_certificate true\ntls_version tlsv1.2", "{ ca_file: D/ca.crt }",
                                       "wants a client certificate"),
    "client certificate of a stranger": ("server", "require_certificate true",
                                         "{ ca_file: D/ca.crt, cert_file: D/stranger.crt, key_file: D/stranger.key }",
                                         "does not take our client certificate (broker.tls.cert_file): unknown CA"),
    "wrong key": ("server", "", "{ ca_file: D/ca.crt, cert_file: D/client.crt, key_file: D/stranger.key }",
                  "broker.tls.key_file: can't use"),
    "key with a password": ("server", "", "{ ca_file: D/ca.crt, cert_file: D/client.crt, key_file: D/locked.key }",
                            "the PEM key of cert_file, without a password expected"),
    "ca_file without a certificate": ("server", "", "{ ca_file: D/server.key }", "broker.tls.ca_file: can't use"),
    "no TLS there": (None, "", "{ ca_file: D/ca.crt }", "is the port that of its TLS listener?"),
}


def broker_with(world, authority, name, config):
    d = authority.directory
    cafile = f"cafile {d}/ca.crt\n" if config else ""  # with it mosquitto sends the CA's certificate as well
    tls = f"{cafile}certfile {d}/{name}.crt\nkeyfile {d}/{'below' if name == 'chain' else name}.key\n" if name else ""
    return world.broker(config=f"allow_anonymous true\n{tls}{config.replace('sends', '')}")


@pytest.mark.parametrize("case", CASES)
def test_cause(world, authority, case):
    name, config, tls, wanted = CASES[case]
    broker = broker_with(world, authority, name, config)
    gateway = world.sluice(yaml(broker.port, routes=ROUTES, broker=f"  tls: {tls}\n".replace("D/", f"{authority.directory}/"),
                                scheme="mqtts"), ready=False)
    wait_until(lambda: gateway.text().count("no connection to") > 1, 20)
    lines = [line for line in gateway.text().splitlines() if '"part":"mqtt"' in line]
    assert all(wanted in line for line in lines), lines


class TlsServer:
    """Python's, for what mosquitto can't be set to or does not tell: the names that clients ask for, and the first byte in the tunnel."""

    def __init__(self, directory):
        self.names, self.first = [], []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            raw.settimeout(5)
            with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as tunnel:
                self.first.append(tunnel.recv(1))
            raw.close()

    def end(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class OldTls(TlsServer):
    """Speaks nothing newer than TLS 1.1."""

    def __init__(self, directory):
        super().__init__(directory)
        self.context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.context.minimum_version = ssl.TLSVersion.TLSv1
            self.context.maximum_version = ssl.TLSVersion.TLSv1_1


def test_old_protocol_version(world, authority):
    server = world.keep(OldTls(authority.directory))
    gateway = world.sluice(yaml(server.port, routes=ROUTES, broker=f"  tls: {{ ca_file: {authority.directory}/ca.crt }}\n",
                                scheme="mqtts"), ready=False)
    wait_until(lambda: "the broker speaks no TLS version from 1.2 on" in gateway.text(), 20)


@pytest.mark.parametrize("host, named", [("localhost", "localhost"), ("127.0.0.1", None)])
def test_the_server_is_asked_for_by_its_name(world, authority, host, named):
    """Whatever address it is connected to; and where the configuration has an address, by none (RFC 6066 section 3)."""
    broker, engine = (world.keep(TlsServer(authority.directory)) for _ in range(2))
    tls = f"tls: {{ ca_file: {authority.directory}/ca.crt }}"
    text = yaml(broker.port, routes=ROUTES, broker=f"  {tls}\n  client_id: one\n  session_expiry: 1h\n", scheme="mqtts").replace("//127.0.0.1", f"//{host}")
    world.sluice(text, ready=False)
    wait_until(lambda: broker.first)
    assert broker.names[0] == named and broker.first[0] == b"\x10"  # CONNECT: the name was verified
    file = world.directory / "engine.yaml"
    file.write_text(text + f'engine: {{ valkey: {{ url: "rediss://{host}:{engine.port}", {tls} }} }}\n')
    world.keep(Process([BINARY, "-c", str(file)], world.directory / "engine.log"))
    wait_until(lambda: engine.first)
    assert engine.names[0] == named and engine.first[0] == b"*"


@pytest.mark.parametrize("name, tls", [("server", "{ ca_file: D/ca.crt }"), ("chain", "{ ca_file: D/ca.crt }"),
                                       ("alone", "{ ca_file: D/alone.crt }"), ("elsewhere", "{ ca_file: D/ca.crt, verify_hostname: false }"),
                                       ("server", "{ ca_file: D/ca.crt, cert_file: D/client.crt, key_file: D/client.key }")])
def test_what_is_right_connects(world, authority, name, tls):
    broker = broker_with(world, authority, name, "require_certificate true" if "cert_file" in tls else "")
    gateway = world.sluice(yaml(broker.port, routes=ROUTES, broker=f"  tls: {tls}\n".replace("D/", f"{authority.directory}/"), scheme="mqtts"))
    assert gateway.post("/channels/home/x", b"1").status_code == 200


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
def test_a_broker_that_goes_without_a_goodbye(world, authority, version):
    """mosquitto ends without TLS's close_notify: it has closed the connection, as over TCP, and that is no fault of the protocol."""
    broker = broker_with(world, authority, "server", f"tls_version {version}\n")
    gateway = world.sluice(yaml(broker.port, routes=ROUTES, broker=f"  tls: {{ ca_file: {authority.directory}/ca.crt }}\n", scheme="mqtts"))
    broker.kill()
    wait_until(lambda: "no connection to" in gateway.text())
    line = next(line for line in gateway.text().splitlines() if "no connection to" in line)
    assert "the connection without a reason; see its log" in line, line  # closed or reset
    broker.start()
    gateway.wait_ready()


class Closing(FakeBroker):
    def publish(self, c, packet):
        if "bad" in packet["topic"]:
            c.close()
        else:
            super().publish(c, packet)


def test_a_publish_that_the_broker_closes_on_is_found_out(world, authority):
    """As over TCP (test_broker_publishes.py): the second time is the last one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.directory / "server.crt", authority.directory / "server.key")
    broker = world.keep(Closing(context=context))
    gateway = world.sluice(yaml(broker.port, routes=ROUTES, broker=f"  tls: {{ ca_file: {authority.directory}/ca.crt }}\n", scheme="mqtts"))
    for status, connects in ((503, 2), (503, 3), (502, 3)):
        assert gateway.post("/channels/home/bad", b"1").status_code == status
        wait_until(lambda connects=connects: gateway.metric("sluice_mqtt_connects_total") == connects)
        gateway.wait_ready()
        assert gateway.post("/channels/home/fine", b"1").ok
    assert [p["topic"] for p in broker.publishes].count("home/bad") == 2


def test_renewed_certificate_needs_no_restart(world, authority):
    """The files are read at each connection, so that what is mended on the disk works at the next attempt."""
    d = authority.directory
    mended = world.directory / "mended.crt"
    mended.write_bytes((d / "other.crt").read_bytes())
    broker = broker_with(world, authority, "server", "")
    gateway = world.sluice(yaml(broker.port, routes=ROUTES, broker=f"  tls: {{ ca_file: {mended} }}\n", scheme="mqtts"), ready=False)
    wait_until(lambda: "is not in broker.tls.ca_file" in gateway.text())
    mended.write_bytes((d / "ca.crt").read_bytes())
    gateway.wait_ready()
