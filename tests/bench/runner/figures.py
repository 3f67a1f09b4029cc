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
    Target("20 messages/s, MQTT at QoS 1: CPU of /ws's", of("qos1", "sluice-mqtt", "cpu_us", "sluice-ws"), 2),
    Target("saturated, spaced, MQTT: CPU of mosquitto's WebSocket listener's", of("spaced", "sluice-mqtt", "cpu_us", "mosquitto"), 0.1),
    Target("10 clients, one in flight: p50 of the floor's", of("one-in-flight", "sluice-ws", "p50_us", "floor"), 1.15),
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
]
