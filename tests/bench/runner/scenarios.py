"""What is measured, with which servers. Options are those of the load generator, or of the scenario's own program."""
from dataclasses import dataclass, field

import crowds
import ingest
import mixed

WS = ["floor", "joined", "sluice-ws", "nchan-ws", "node-ws", "mosquitto", "socketio"]
EVERY = ["floor", "joined", "sluice-ws", "sluice-raw", "sluice-sse", "sluice-poll", "sluice-2w", "sluice-socketio", "sluice-socketio-poll", "sluice-mqtt",
         "nchan-ws", "nchan-sse", "nchan-poll", "node-ws", "mosquitto", "socketio"]
PUSHED = [name for name in EVERY if not name.endswith("-poll")]
QUICK = ["floor", "joined", "sluice-ws", "sluice-raw", "sluice-sse", "sluice-poll", "nchan-ws", "nchan-poll", "node-ws"]


@dataclass
class Scenario:
    name: str
    title: str
    note: str
    peers: list
    options: dict
    columns: list  # of what is worth showing, see report.COLUMNS
    quick: bool = False
    rounds: int = 0  # 0: as many as asked for
    grow: tuple = field(default=())  # (family, x): a point of a curve
    program: callable = None  # program(name of the peer, directory, **options) -> figures; None: the load generator
    base: str = "floor"  # the server that ratios are of


def saturated(clients, channels=1, seconds=1.5, **more):
    """As much as the server takes: one message each `interval_us`, which offers 6.7 million deliveries a second."""
    each = clients / channels
    options = {"clients": clients, "channels": channels, "interval_us": max(20, round(each * 0.15)), "burst": 1,
               "window": 64 if each <= 1000 else 30, "saturate": 1, "warm": 0.5 if clients <= 1000 else 1, "seconds": seconds}
    return {**options, **more}


def many_channels(clients, channels, **more):
    """Few subscribers each: the broker or the server is the bound, so nothing is spaced."""
    return saturated(clients, channels, interval_us=0, burst=16, window=max(64, 400 * channels // clients), **more)


def growth():
    points = [Scenario(f"clients-{n}", f"{n:,} clients, one channel", "", WS, saturated(n), ["cpu", "rate", "memory", "frames"], rounds=2,
                       grow=("clients", n)) for n in (10, 100, 1000, 9000)]
    for clients in (10, 100):
        points.append(Scenario(f"rate20-{clients}", f"20 messages/s to {clients} clients", "", WS,
                               {"clients": clients, "interval_us": 50000, "window": 1000, "warm": 0.2, "seconds": 2}, ["cpu", "p50", "p99"], rounds=1))
    for channels in (1, 100, 10000):
        options = saturated(10000, channels) if channels == 1 else many_channels(10000, channels)
        points.append(Scenario(f"channels-{channels}", f"10,000 clients on {channels:,} channel{'s' if channels > 1 else ''}", "", WS, options,
                               ["cpu", "rate", "memory", "frames"], rounds=2, grow=("channels", channels)))
    return points


def taking_in(name, title, peers=("libmosquitto", "sluice"), **options):
    return Scenario("ingest-" + name, "No clients: " + title, "", list(peers), {"messages": 40000, **options}, ["cpu", "rate_in"], rounds=3,
                    program=ingest.ingest, base="libmosquitto")


def storm(name, title, peers, clients, **options):
    return Scenario("storm-" + name, f"{clients:,} clients back after kill -9, {title}", "", peers, {"clients": clients, **options},
                    ["back", "p99", "connect_cpu", "memory"], rounds=2, program=crowds.storm, base="nchan-tls" if "nchan-tls" in peers else "nchan")


def accepting(name, title, version, resume):
    return Scenario("accept-" + name, f"Accepting TLS clients: {title}", "", ["sluice-tls", "nchan-tls"],
                    {"clients": 300, "version": version, "resume": resume}, ["connect_cpu", "connect"], rounds=3, program=crowds.accept, base="nchan-tls")


TLS = [
    Scenario("tls-idle", "One message to one plain client beside 4,000 idle ones", "One in flight. `bytes each` is of an idle client.",
             ["sluice", "sluice-tls"], {"clients": 4000}, ["cpu", "p50", "memory"], rounds=2, program=crowds.idle, base="sluice"),
    Scenario("tls-paced", "20 messages/s to 500 TLS clients", "SSE.", ["nchan-tls", "sluice-tls", "sluice"],
             {"clients": 500, "messages": 60, "burst": 1, "interval": 0.05}, ["cpu"], rounds=2, program=crowds.fan, base="nchan-tls"),
    Scenario("tls-bursts", "Bursts of 64 messages to 200 TLS clients", "SSE, a burst every 10 ms as far as the server keeps up.",
             ["nchan-tls", "sluice-tls", "sluice"], {"clients": 200, "messages": 640, "burst": 64, "interval": 0.01}, ["cpu", "rate"], rounds=2,
             program=crowds.fan, base="nchan-tls"),
    accepting("13", "TLS 1.3", 13, 0), accepting("13-resumed", "TLS 1.3, resumed", 13, 1),
    accepting("12", "TLS 1.2", 12, 0), accepting("12-resumed", "TLS 1.2, resumed", 12, 1),
]

STORMS = [
    storm("1000", "plain", ["nchan", "sluice"], 1000), storm("9000", "plain", ["nchan", "sluice"], 9000),
    storm("9000-disk", "plain, their 20 missed messages from the disk", ["sluice"], 9000, storage=True),
    storm("tls", "TLS", ["nchan-tls", "sluice-tls"], 1000), storm("tls-disk", "TLS, with `storage`", ["sluice-tls"], 1000, storage=True),
    *(Scenario(f"tokens-{name.lower()}", f"1,000 plain clients with {name} tokens", "", ["sluice", "sluice-token", "sluice-tokens"],
               {"clients": 1000, "algorithm": name}, ["connect_cpu", "connect"], rounds=2, program=crowds.tokens, base="sluice")
      for name in ("RS256", "ES256")),
]

INGEST = [
    taking_in("qos0", "QoS 0, one topic, 10 routes"), taking_in("qos1", "QoS 1, one topic, 10 routes", qos=1),
    taking_in("topics", "QoS 0, 10,000 topics, 10 routes", topics=10000), taking_in("routes", "QoS 0, 10,000 topics, 1,000 routes", topics=10000, routes=1000),
    taking_in("disk", "QoS 1, 10,000 topics, kept on disk", ("libmosquitto", "sluice", "sluice-disk"), qos=1, topics=10000),
    taking_in("paced", "QoS 0, 2,000 messages/s", messages=4000, interval_us=500),
]

MIXED = [
    *(Scenario(f"retained-{name}", f"A broker with {name} retained channels",
               "From the start of the server. The snapshot is of all channels, for one client; `longest` is what another client waits meanwhile.",
               ["libmosquitto", "sluice"], {"channels": number}, ["ready", "cpu", "memory", "snapshot", "snapshot_s", "max", "quiet_max"], rounds=1,
               program=ingest.retained, base="libmosquitto") for name, number in (("10k", 10000), ("200k", 200000))),
    *(Scenario(f"hub-{name}", f"{number:,} channels, the hub alone",
               "Without broker and sockets, in CPU time of the thread; bytes over the payload. `longest` is a turn of the loop during a snapshot of all, "
               "`resume` a filter over all against a plain channel, with nothing missed.",
               ["sluice"], {"channels": number}, ["memory", "snapshot", "max", "resume"], rounds=2, program=ingest.hub, base="sluice")
      for name, number in (("10k", 10000), ("1m", 1000000))),
    Scenario("big-1m", "1 MB to 200 clients, beside a small channel", "Four in 2 s. p99 is of a small message to 10 clients of another channel.",
             ["nchan", "sluice"], {"clients": 200, "size": 1000000, "messages": 4}, ["p99", "quiet_p99", "times", "max"], rounds=2, program=mixed.big,
             base="nchan"),
    Scenario("big-64k", "64 KiB to 1,000 clients, beside a small channel", "Eight in 2 s.", ["nchan", "sluice"],
             {"clients": 1000, "size": 65536, "messages": 8}, ["p99", "quiet_p99", "times", "max"], rounds=2, program=mixed.big, base="nchan"),
    Scenario("stalled", "Half of 1,000 clients do not read", "8 KiB messages, 20/s; p99 of those who read, with and without the others.",
             ["nchan", "sluice"], {"clients": 1000}, ["p99", "quiet_p99", "times", "kernel", "cpu"], rounds=2, program=mixed.stalled, base="nchan"),
    Scenario("rights", "Filters and rights, 1,000 clients, 10,000 channels", "Every message to every client; `Sluice` has one filter and no rights.",
             ["sluice", "sluice-filters", "sluice-fields", "sluice-own"], {"clients": 1000}, ["cpu"], rounds=3, program=mixed.rights, base="sluice"),
]


ALL = [
    Scenario("spaced", "Saturated, messages evenly spaced", "1,000 clients on one channel; a message every 150 µs as far as the window allows.",
             EVERY, saturated(1000), ["cpu", "rate", "broker", "frames"], quick=True),
    Scenario("bursts", "Saturated, in bursts", "The same in bursts of 20 messages, at most one every 3 ms.",
             EVERY, saturated(1000, interval_us=3000, burst=20), ["cpu", "rate", "broker", "frames"]),
    Scenario("rate20", "20 messages/s to 1,000 clients", "One channel; a message every 50 ms, whatever happens.",
             PUSHED + ["sluice-poll", "sluice-socketio-poll", "nchan-poll"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3}, ["cpu", "p50", "p99", "broker"], quick=True),
    Scenario("clients-qos1", "20 messages/s to 1,000 clients, QoS 1", "The same; clients of MQTT subscribe at QoS 1 and acknowledge every message.",
             ["floor-mqtt", "sluice-ws", "sluice-mqtt", "mosquitto"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3, "qos": 1}, ["cpu", "p50", "p99", "broker"]),
    Scenario("clients-qos1-spaced", "Saturated, 100 clients, QoS 1", "Evenly spaced; clients of MQTT subscribe at QoS 1 and acknowledge every message.",
             ["floor-mqtt", "sluice-ws", "sluice-mqtt", "mosquitto"], saturated(100, qos=1), ["cpu", "rate", "broker"]),
    Scenario("one-in-flight", "10 clients, one message in flight", "The next message is published when all have the last.",
             EVERY, {"clients": 10, "pingpong": 1, "warm": 0.3, "seconds": 1.5}, ["p50", "p99", "cpu"], quick=True),
    Scenario("channels-1000x1", "1,000 channels with one subscriber each", "Saturated, messages go round the channels.",
             PUSHED, many_channels(1000, 1000), ["cpu", "rate", "broker", "frames"]),
    Scenario("idle", "9,000 idle connections", "Connected, left alone for 3 s, then one message to all of them every 0.6 s.",
             EVERY, {"clients": 9000, "idle": 3, "interval_us": 600000, "window": 1000, "warm": 0, "seconds": 2.4},
             ["memory", "connect", "connect_cpu", "idle", "cpu", "p99"], quick=True, rounds=2),
    Scenario("two-workers", "One worker and two, with cores to spare",
             "1,000 clients on one channel; a burst of 50 messages every 40 ms, whatever happens: as many are joined with one worker as with two.",
             ["joined", "sluice-ws", "sluice-2w"],
             {"clients": 1000, "interval_us": 40000, "burst": 50, "window": 2000, "warm": 0.3, "seconds": 3}, ["cpu", "p50", "p99", "frames"]),
    Scenario("rate20-send", "20 messages/s to 1,000 clients, without io_uring", "As in most containers; a message every 50 ms.",
             ["floor", "sluice-send", "sluice-ws"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3}, ["cpu", "p50", "p99"]),
    Scenario("rate20-qos1", "20 messages/s to 1,000 clients, QoS 1", "Published and subscribed to at QoS 1.", ["floor", "sluice-ws", "node-ws"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3, "qos": 1}, ["cpu", "p50", "p99", "broker"]),
    Scenario("spaced-qos1", "Saturated, messages evenly spaced, QoS 1", "Published and subscribed to at QoS 1.", ["joined", "sluice-ws", "node-ws"],
             saturated(1000, qos=1), ["cpu", "rate", "broker", "frames"], base="joined"),
    *TLS, *STORMS, *INGEST, *MIXED,
    *growth(),
]
