"""TLS, and everybody coming back at once. A server named …-tls is reached over TLS."""
import random
import time

import tools
from tools import Crowd, Gateway, Nchan


def started(peer, directory, broker, **more):
    make = Nchan if peer.startswith("nchan") else Gateway
    return make(directory, broker, tls=peer.endswith("-tls"), **more)


def port_of(peer, server):
    return server.tls_port if peer.endswith("-tls") else server.port


def idle(peer, directory, clients):
    """One message at a time to one plain client beside many idle ones."""
    with tools.world(directory) as (broker, things):
        server = started(peer, directory, broker)
        things.append(server)
        before = tools.memory(server.pid)
        crowd = Crowd(directory, port_of(peer, server), clients, [server.stream("bench/silent")], tls=int(peer.endswith("-tls")))
        things.append(crowd)
        time.sleep(0.5)
        each = (tools.memory(server.pid) - before) / clients
        found = tools.figures_of(tools.probe(server, broker, clients=1, pingpong=1, seconds=1))
        return {"memory": each, "cpu_us": found["cpu_us"], "p50_us": found["p50_us"]}


def fan(peer, directory, clients, messages, burst, interval):
    """Paced messages, or bursts, to many clients; the CPU of a delivery."""
    with tools.world(directory) as (broker, things):
        server = started(peer, directory, broker)
        things.append(server)
        crowd = Crowd(directory, port_of(peer, server), clients, [server.stream("bench/1")], mark="hum", tls=int(peer.endswith("-tls")),
                      begun="\n\n" if isinstance(server, Gateway) else "\r\n\r\n")
        things.append(crowd)
        server.publish(1)
        crowd.wait(clients)
        used, begun = tools.cpu(*server.pids), time.monotonic()
        server.publish(messages, interval, burst)
        crowd.wait(clients * (messages + 1))
        return {"cpu_us": (tools.cpu(*server.pids) - used) / messages / clients * 1e6,
                "rate": messages * clients / (time.monotonic() - begun)}


def accept(peer, directory, clients, version, resume):
    """CPU of a handshake and a request."""
    with tools.world(directory) as (broker, things):
        server = started(peer, directory, broker)
        things.append(server)
        path = "/ready" if isinstance(server, Nchan) else "/healthz"
        used = tools.cpu(*server.pids)
        crowd = Crowd(directory, server.tls_port, clients, [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"], begun="HTTP/1.1 2", tls=1,
                      version=version, resume=resume, parallel=16)
        things.append(crowd)
        return {"connect_cpu_us": (tools.cpu(*server.pids) - used) / clients * 1e6, "connect_s": crowd.begin["connect_s"]}


def storm(peer, directory, clients, storage=False):
    """All come back at once after kill -9, with a cursor from before; nchan knows none and only serves them."""
    with tools.world(directory) as (broker, things):
        marks, cursor, missed = "", None, 20
        if peer.startswith("sluice"):
            tls = peer.endswith("-tls")
            kept, more = ("[{ topic: 'bench/#', history: { count: 100, store: disk } }]",
                          f"storage: {{ path: {directory}/sluice.db }}\n") if storage else ("[{ topic: 'bench/#' }]", "")
            ports = (random.randrange(10000, 30000), random.randrange(30000, 32000))
            first = Gateway(directory, broker, kept, more, tls=tls, ports=ports)
            things.append(first)
            first.publish(1)
            while first.metric("sluice_messages_total") < 1:
                time.sleep(0.01)
            cursor = tools.json.loads(first.get("/channels/bench/1").read())["cursor"]
            first.publish(missed)
            while first.metric("sluice_messages_total") < missed + 1 or (storage and first.metric("sluice_storage_waiting_bytes")):
                time.sleep(0.01)
            first.kill()
            server = Gateway(directory, broker, kept, more, tls=tls, ports=ports, name="again")
            marks = '"ts":' if storage else "event: gap"
        else:
            server = started(peer, directory, broker)
        things.append(server)
        before, used, begun = tools.memory(server.pid), tools.cpu(*server.pids), time.monotonic()
        crowd = Crowd(directory, port_of(peer, server), clients, [server.stream("bench/1", cursor=cursor)], mark=marks, parallel=1024,
                      tls=int(peer.endswith("-tls")), begun="retry" if marks else "\r\n\r\n")
        things.append(crowd)
        if marks:
            crowd.wait(clients * (missed if storage else 1))
        return {"back_s": time.monotonic() - begun, "p99_us": crowd.begin["p99_s"] * 1e6, "connect_cpu_us": (tools.cpu(*server.pids) - used) / clients * 1e6,
                "memory": (tools.memory(server.pid, "VmHWM") - before) / clients}


def tokens(peer, directory, clients, algorithm):
    """Plain clients with JWTs: none, the same for all, one for each."""
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else rsa.generate_private_key(65537, 2048)
    path = directory / "key.pem"
    path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    count = {"sluice": 0, "sluice-token": 1, "sluice-tokens": clients}[peer]
    made = [jwt.encode({"sub": f"user {number}", "exp": int(time.time()) + 3600, "roles": ["all"]}, key, algorithm) for number in range(count)]
    with tools.world(directory) as (broker, things):
        server = Gateway(directory, broker, more=f"auth: {{ jwt: {{ key_file: {path} }}, anonymous: [all] }}\nroles: {{ all: {{ subscribe: '#' }} }}\n")
        things.append(server)
        used = tools.cpu(server.pid)
        crowd = Crowd(directory, server.port, clients, [server.stream("bench/1", token=token) for token in made or [None]])
        things.append(crowd)
        return {"connect_cpu_us": (tools.cpu(server.pid) - used) / clients * 1e6, "connect_s": crowd.begin["connect_s"]}
