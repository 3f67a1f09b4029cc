"""What one kind of client costs another: large messages beside small ones, clients that do not read, many filters, many identities."""
import re
import subprocess
import time

import tools
from crowds import started
from tools import Crowd, Gateway, Nchan


def big(peer, directory, clients, size, messages):
    """A small channel, alone, then while large messages go to many clients of another."""
    with tools.world(directory) as (broker, things):
        server = started(peer, directory, broker)
        things.append(server)
        crowd = Crowd(directory, server.port, clients, [server.stream("bench/big")], mark="data:", nice=19,
                      begun="\r\n\r\n" if isinstance(server, Nchan) else "\n\n")
        things.append(crowd)
        quiet = tools.figures_of(tools.probe(server, broker, topic="bench/quiet", interval_us=5000, seconds=1.5))
        small = tools.probe(server, broker, interval_us=5000, seconds=3)
        time.sleep(0.6)
        server.publish(messages, 2 / messages, topic="bench/big", bytes=size)
        beside = tools.figures_of(small)
        crowd.wait(clients * messages)
        return {"p99_us": beside["p99_us"], "quiet_p99_us": quiet["p99_us"], "max_us": beside["max_us"], "times": beside["p99_us"] / quiet["p99_us"]}


def queued(port):
    """Bytes that the kernel holds for the connections of this port, in their send queues with what they cost."""
    text = subprocess.run(["ss", "-tmnH", "state", "established", "sport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    return sum(int(found) for found in re.findall(r",w(\d+)", text))


def stalled(peer, directory, clients, size=8192):
    """Half of the clients of a channel do not read: the others' times, with and without them, and what the kernel holds for each."""
    with tools.world(directory) as (broker, things):
        server = started(peer, directory, broker)
        things.append(server)
        words = {"clients": clients // 2, "payload": size, "interval_us": 50000, "warm": 0.5}
        quiet = tools.figures_of(tools.probe(server, broker, topic="bench/quiet", seconds=2, **words))
        crowd = Crowd(directory, server.port, clients // 2, [server.stream("bench/probe/0")], read=0,
                      begun="\r\n\r\n" if isinstance(server, Nchan) else "\n\n")
        things.append(crowd)
        beside = tools.figures_of(tools.probe(server, broker, seconds=4, **words))
        return {"p99_us": beside["p99_us"], "quiet_p99_us": quiet["p99_us"], "times": beside["p99_us"] / quiet["p99_us"],
                "kernel": queued(server.port) / (clients // 2), "cpu_us": beside["cpu_us"]}


def rights(peer, directory, clients, channels=10000, messages=400):
    """Every message goes to every client. `sluice`: one filter each, no rights; -filters: 50 that overlap; -fields: an identity each,
    of one role with `fields`; -own: an identity each, whose grants have its name in them, and `fields`."""
    import jwt
    more, requests = "", None
    if peer in ("sluice-fields", "sluice-own"):
        (directory / "secret").write_text("a secret of the bench, 32 bytes and more\n")
        rights_ = '["#", "users/{claims.sub}/#"]' if peer == "sluice-own" else "'#'"
        more = (f"auth: {{ jwt: {{ secret_file: {directory}/secret }} }}\n"
                f"roles: {{ all: {{ subscribe: {rights_}, fields: [temperature, hum] }} }}\n")
    with tools.world(directory) as (broker, things):
        server = Gateway(directory, broker, more=more, limits=f", channels: {channels * 2}")
        things.append(server)
        if more:
            secret = (directory / "secret").read_text().rstrip("\n")
            made = [jwt.encode({"sub": f"user{n}", "exp": int(time.time()) + 3600, "roles": ["all"]}, secret, "HS256") for n in range(clients)]
            requests = [server.stream("bench/#", token=token) for token in made]
        elif peer == "sluice-filters":
            requests = [server.stream("bench/#", *(f"bench/{f // 2 % 10}/#" if f % 2 else f"bench/+/{(n * 50 + f) % channels}" for f in range(1, 50)))
                        for n in range(clients)]
        crowd = Crowd(directory, server.port, clients, requests or [server.stream("bench/#")], mark="hum")
        things.append(crowd)
        tools.feed(broker.port, topic="bench/%k/%i", topics=channels, messages=50, burst=5, interval_us=20000)
        crowd.wait(50 * clients)
        used = tools.cpu(server.pid)
        tools.feed(broker.port, topic="bench/%k/%i", topics=channels, first=5000, messages=messages, burst=5, interval_us=20000)
        crowd.wait((50 + messages) * clients)
        return {"cpu_us": (tools.cpu(server.pid) - used) / messages / clients * 1e6}
