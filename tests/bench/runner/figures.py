"""Medians, spreads and ratios of what was measured, and whether the targets hold.

`results` is {scenario name: {peer name: [figures of each round]}}.
"""
import statistics
from dataclasses import dataclass


@dataclass
class Column:
    key: str
    title: str
    format: str
    scale: float = 1
    ratio: bool = True  # worth dividing by the floor's


COLUMNS = {
    "cpu": Column("cpu_us", "CPU µs", ".3f"),
    "broker": Column("broker_us", "broker µs", ".3f", ratio=False),
    "rate": Column("rate", "deliveries/s", ",.0f"),
    "frames": Column("frames_per_read", "frames/read", ".1f", ratio=False),
    "p50": Column("p50_us", "p50 ms", ".3f", 1e-3),
    "p99": Column("p99_us", "p99 ms", ".2f", 1e-3),
    "memory": Column("memory", "bytes each", ",.0f", ratio=False),
    "connect": Column("connect_s", "connect s", ".2f", ratio=False),
    "connect_cpu": Column("connect_cpu_us", "CPU µs a connect", ".0f", ratio=False),
    "rate_in": Column("rate", "messages/s", ",.0f"),
    "ready": Column("ready_s", "ready s", ".2f"),
    "back": Column("back_s", "back s", ".2f"),
    "max": Column("max_us", "longest ms", ".1f", 1e-3, ratio=False),
    "quiet_p99": Column("quiet_p99_us", "p99 ms without", ".2f", 1e-3, ratio=False),
    "quiet_max": Column("quiet_max_us", "longest ms without", ".1f", 1e-3, ratio=False),
    "times": Column("times", "p99 of p99 without", ".2f", ratio=False),
    "kernel": Column("kernel", "kernel's bytes a stalled one", ",.0f", ratio=False),
    "snapshot": Column("snapshot_us", "snapshot CPU µs a channel", ".2f", ratio=False),
    "resume": Column("resume", "resume, of a plain channel's", ".2f", ratio=False),
    "snapshot_s": Column("snapshot_s", "snapshot s", ".2f", ratio=False),
    "idle": Column("idle_us_per_s", "idle µs/s", ",.0f", ratio=False),
}


def values(results, scenario, peer, key):
    runs = results.get(scenario, {}).get(peer, [])
    return [run[key] for run in runs if key in run]


def median(results, scenario, peer, key):
    """None if no round gave a figure."""
    found = values(results, scenario, peer, key)
    return statistics.median(found) if found else None


def spread(results, scenario, peer, key):
    """Largest less smallest, as a share of the median."""
    found = values(results, scenario, peer, key)
    middle = statistics.median(found) if found else 0
    return (max(found) - min(found)) / middle if middle else 0.0


def failures(results, scenario, peer):
    return [run["failed"] for run in results.get(scenario, {}).get(peer, []) if "failed" in run]


def ratio(results, scenario, peer, key, other, other_scenario=None):
    """Median of the ratios within each round: what disturbs the machine for a while disturbs both."""
    pairs = zip(results.get(scenario, {}).get(peer, []), results.get(other_scenario or scenario, {}).get(other, []))
    found = [a[key] / b[key] for a, b in pairs if a.get(key) is not None and b.get(key)]
    return statistics.median(found) if found else None


@dataclass
class Target:
    """`measured` is a function of results that gives a number or None; it holds when that is on the right side of `bound`."""
    text: str
    measured: callable
    bound: float
    at_least: bool = False
    unit: str = "×"

    def judge(self, results):
        value = self.measured(results)
        if value is None:
            return None, None
        return value, value >= self.bound if self.at_least else value <= self.bound


def of(scenario, peer, key, other, other_scenario=None):
    return lambda results: ratio(results, scenario, peer, key, other, other_scenario)


def plain(scenario, peer, key):
    return lambda results: median(results, scenario, peer, key)


TARGETS = [
    Target("20 messages/s to 1,000 clients: CPU of the floor's", of("rate20", "sluice-ws", "cpu_us", "floor"), 1.10),
    Target("20 messages/s to 1,000 clients: p99 of the floor's", of("rate20", "sluice-ws", "p99_us", "floor"), 1.10),
    Target("saturated, spaced: CPU of the joining floor's", of("spaced", "sluice-ws", "cpu_us", "joined"), 3),
    Target("saturated, bursts: CPU of the joining floor's", of("bursts", "sluice-ws", "cpu_us", "joined"), 3),
    Target("saturated, spaced: CPU of nchan's", of("spaced", "sluice-ws", "cpu_us", "nchan-ws"), 0.1),
    Target("saturated, bursts: CPU of nchan's", of("bursts", "sluice-ws", "cpu_us", "nchan-ws"), 0.25),
    Target("saturated, spaced: deliveries/s", plain("spaced", "sluice-ws", "rate"), 2e6, True, ""),
    Target("saturated, bursts: deliveries/s", plain("bursts", "sluice-ws", "rate"), 2e6, True, ""),
    *(Target(f"{what}, {name}: CPU of /ws's", of(scenario, peer, "cpu_us", "sluice-ws"), 1.05)
      for scenario, what in (("spaced", "saturated, spaced"), ("rate20", "20 messages/s"))
      for peer, name in (("sluice-raw", "raw sockets"), ("sluice-sse", "SSE"), ("sluice-socketio", "Socket.IO"), ("sluice-mqtt", "MQTT"))),
    Target("saturated, spaced, Socket.IO: CPU of npm socket.io's", of("spaced", "sluice-socketio", "cpu_us", "socketio"), 0.1),
    Target("20 messages/s, MQTT at QoS 1: CPU of /ws's", of("clients-qos1", "sluice-mqtt", "cpu_us", "sluice-ws"), 2),
    Target("20 messages/s, MQTT at QoS 1: CPU of its floor's", of("clients-qos1", "sluice-mqtt", "cpu_us", "floor-mqtt"), 1),
    Target("saturated, MQTT at QoS 1: CPU of its floor's", of("clients-qos1-spaced", "sluice-mqtt", "cpu_us", "floor-mqtt"), 1.5),
    *(Target(f"{what}, Socket.IO by polling: CPU of /poll's", of(scenario, "sluice-socketio-poll", "cpu_us", "sluice-poll"), 1.1)
      for scenario, what in (("spaced", "saturated, spaced"), ("rate20", "20 messages/s"))),
    Target("9,000 idle, Socket.IO: bytes each", plain("idle", "sluice-socketio", "memory"), 2048, unit=""),
    Target("saturated, spaced, MQTT: CPU of mosquitto's WebSocket listener's", of("spaced", "sluice-mqtt", "cpu_us", "mosquitto"), 0.1),
    Target("10 clients, one in flight: p50 of the floor's", of("one-in-flight", "sluice-ws", "p50_us", "floor"), 1),
    Target("1,000 channels x 1: deliveries/s of the floor's", of("channels-1000x1", "sluice-ws", "rate", "floor"), 1, True),
    Target("1,000 channels x 1: CPU of the floor's", of("channels-1000x1", "sluice-ws", "cpu_us", "floor"), 1.15),
    *(Target(f"9,000 idle, {name}: bytes each", plain("idle", peer, "memory"), 4096, unit="")
      for peer, name in (("sluice-ws", "/ws"), ("sluice-raw", "raw"), ("sluice-sse", "SSE"), ("sluice-poll", "polls"))),
    Target("9,000 idle, MQTT: bytes each", plain("idle", "sluice-mqtt", "memory"), 2048, unit=""),
    Target("9,000 idle: CPU of one core", lambda results: (lambda us: None if us is None else us / 1e6)(median(results, "idle", "sluice-ws", "idle_us_per_s")),
           0.002, unit=""),
    *(Target(f"9,000 idle, {name}: time to connect of nchan's", of("idle", peer, "connect_s", other), 1)
      for peer, name, other in (("sluice-ws", "/ws", "nchan-ws"), ("sluice-raw", "raw", "nchan-ws"), ("sluice-sse", "SSE", "nchan-sse"))),
    Target("1 message to 9,000: CPU of the floor's", of("idle", "sluice-ws", "cpu_us", "floor"), 1.15),
    Target("1 message to 9,000: p99 of the floor's", of("idle", "sluice-ws", "p99_us", "floor"), 1.15),
    Target("long-poll, saturated: CPU of nchan's", of("spaced", "sluice-poll", "cpu_us", "nchan-poll"), 0.7),
    Target("10,000 channels x 1: CPU of 1 message to 9,000 on one", of("channels-10000", "sluice-ws", "cpu_us", "sluice-ws", "idle"), 1.5),
    Target("workers: 2, cores to spare: CPU of one worker's", of("two-workers", "sluice-2w", "cpu_us", "sluice-ws"), 1.1),
    Target("workers: 2, saturated: CPU of one worker's", of("spaced", "sluice-2w", "cpu_us", "sluice-ws"), 1.1),
    Target("without io_uring, 20 messages/s: CPU of the floor's", of("rate20-send", "sluice-send", "cpu_us", "floor"), 1.05),
    Target("without io_uring, 20 messages/s: p99 of the floor's", of("rate20-send", "sluice-send", "p99_us", "floor"), 1.05),
    Target("QoS 1, 20 messages/s: CPU of the floor's", of("rate20-qos1", "sluice-ws", "cpu_us", "floor"), 1.1),
    Target("QoS 1, saturated: CPU of the joining floor's", of("spaced-qos1", "sluice-ws", "cpu_us", "joined"), 3),
    Target("4,000 idle TLS clients: CPU of a message, of that with plain ones", of("tls-idle", "sluice-tls", "cpu_us", "sluice"), 1.1),
    Target("an idle TLS client: bytes", plain("tls-idle", "sluice-tls", "memory"), 12000, unit=""),
    Target("TLS, 20 messages/s: CPU of nchan's", of("tls-paced", "sluice-tls", "cpu_us", "nchan-tls"), 0.8),
    Target("TLS, bursts: CPU of nchan's", of("tls-bursts", "sluice-tls", "cpu_us", "nchan-tls"), 0.2),
    *(Target(f"accepting, TLS 1.{name}: CPU of nginx's", of("accept-1" + name, "sluice-tls", "connect_cpu_us", "nchan-tls"), 1)
      for name in ("3", "3-resumed", "2", "2-resumed")),
    Target("9,000 back after kill -9: seconds", plain("storm-9000", "sluice", "back_s"), 2, unit=""),
    Target("9,000 back, from the disk: seconds", plain("storm-9000-disk", "sluice", "back_s"), 2, unit=""),
    Target("9,000 back: CPU of each, of 1,000's", of("storm-9000", "sluice", "connect_cpu_us", "sluice", "storm-1000"), 1.2),
    *(Target(f"no clients, {name}: CPU of a bare subscriber's", of(f"ingest-{name}", peer, "cpu_us", "libmosquitto"), 1)
      for name, peer in (("qos0", "sluice"), ("qos1", "sluice"), ("topics", "sluice"), ("routes", "sluice"), ("disk", "sluice-disk"), ("paced", "sluice"))),
    Target("1 million channels: bytes each over the payload", plain("hub-1m", "sluice", "memory"), 400, unit=""),
    Target("1 million channels: longest turn during a snapshot of all, ms", lambda results: (lambda us: us and us / 1000)(median(results, "hub-1m", "sluice", "max_us")),
           10, unit=""),
    Target("1 million channels: resuming all, of a plain channel", plain("hub-1m", "sluice", "resume"), 2),
    Target("200,000 retained channels: time to ready of a bare subscriber's", of("retained-200k", "sluice", "ready_s", "libmosquitto"), 1.5),
    Target("1 million channels: snapshot of all, a channel, of 10,000's", of("hub-1m", "sluice", "snapshot_us", "sluice", "hub-10k"), 1.5),
    *(Target(f"{what}: p99 of a small channel, of that without", plain(name, "sluice", "times"), 2)
      for name, what in (("big-1m", "1 MB to 200"), ("big-64k", "64 KiB to 1,000"))),
    Target("half of 1,000 do not read: p99 of the others, of that without", plain("stalled", "sluice", "times"), 1.2),
    Target("half of 1,000 do not read: kernel's bytes of each", plain("stalled", "sluice", "kernel"), 262144, unit=""),
    *(Target(f"{what}: CPU of one filter without rights", of("rights", peer, "cpu_us", "sluice"), 1.3)
      for peer, what in (("sluice-filters", "50 filters each"), ("sluice-fields", "1,000 identities, `fields`"),
                         ("sluice-own", "1,000 identities of different grants, `fields`"))),
]
