"""What is measured, with which servers. Options are those of the load generator."""
from dataclasses import dataclass, field

WS = ["floor", "joined", "sluice-ws", "nchan-ws", "node-ws", "mosquitto", "socketio"]
EVERY = ["floor", "joined", "sluice-ws", "sluice-raw", "sluice-sse", "sluice-poll", "sluice-2w", "sluice-socketio", "sluice-mqtt",
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


ALL = [
    Scenario("spaced", "Saturated, messages evenly spaced", "1,000 clients on one channel; a message every 150 µs as far as the window allows.",
             EVERY, saturated(1000), ["cpu", "rate", "broker", "frames"], quick=True),
    Scenario("bursts", "Saturated, in bursts", "The same in bursts of 20 messages, at most one every 3 ms.",
             EVERY, saturated(1000, interval_us=3000, burst=20), ["cpu", "rate", "broker", "frames"]),
    Scenario("rate20", "20 messages/s to 1,000 clients", "One channel; a message every 50 ms, whatever happens.",
             PUSHED + ["sluice-poll", "nchan-poll"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3}, ["cpu", "p50", "p99", "broker"], quick=True),
    Scenario("qos1", "20 messages/s to 1,000 clients, QoS 1", "The same; clients of MQTT subscribe at QoS 1 and acknowledge every message.",
             ["sluice-ws", "sluice-mqtt", "mosquitto"],
             {"clients": 1000, "interval_us": 50000, "window": 1000, "warm": 0.5, "seconds": 3, "qos": 1}, ["cpu", "p50", "p99", "broker"]),
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
    *growth(),
]
