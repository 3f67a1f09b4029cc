"""Taking messages in while nobody is connected, beside a bare subscriber of libmosquitto; and many retained channels."""
import re
import subprocess
import time

import tools
from tools import BENCH, Crowd, Gateway, feed


class Subscriber:
    def __init__(self, broker, qos, expected, filters):
        self.child = subprocess.Popen([BENCH / "subscriber", str(broker.port), str(qos), str(expected), *filters], stdout=subprocess.PIPE, text=True)
        self.pids = [self.child.pid]
        self.pid = self.child.pid

    def line(self):
        text = self.child.stdout.readline()
        if not text:
            raise RuntimeError("the subscriber ended")
        return text

    def end(self):
        self.child.kill()
        self.child.wait()


def ingest(peer, directory, qos=0, topics=1, routes=10, messages=100000, burst=1, interval_us=0):
    """CPU and time for each message, until all of them are in (on the disk, with it)."""
    filters = [f"bench/{number}/#" for number in range(routes)]
    per = max(1, topics // routes)
    with tools.world(directory) as (broker, things):
        if peer == "libmosquitto":
            server = Subscriber(broker, qos, messages, filters)
            things.append(server)
            server.line()
        else:
            disk = peer == "sluice-disk"
            kept = "history: { count: 100, store: disk }" if disk else "history: { count: 100 }"
            server = Gateway(directory, broker, "\n" + "".join(f"  - {{ topic: '{name}', qos: {qos}, {kept} }}\n" for name in filters),
                             f"storage: {{ path: {directory}/sluice.db }}\n" if disk else "", ", inbox: 65536")
            things.append(server)
        before, _ = tools.calm(server.pids)
        begun = time.monotonic()
        feed(broker.port, topic="bench/%k/%i", per=per, topics=topics, messages=messages, qos=qos, burst=burst, interval_us=interval_us)
        while True:
            used, at = tools.calm(server.pids)
            if peer == "libmosquitto":
                server.line()
                break
            came, asked = server.metric("sluice_messages_total"), tools.cpu(*server.pids)
            if came >= messages:
                break
            before += asked - used
            if time.monotonic() - begun > tools.PATIENCE:
                raise RuntimeError(f"only {came:.0f} of {messages} messages came")
        return {"cpu_us": (used - before) / messages * 1e6, "rate": messages / (at - begun)}


def retained(peer, directory, channels):
    """A broker that keeps a value of each channel, and a server that starts: until it has all; memory; a snapshot of all for one
    client, and what another client waits meanwhile, at most."""
    with tools.world(directory) as (broker, things):
        feed(broker.port, topic="home/%k/%i", topics=channels, messages=channels, retain=1)
        begun = time.monotonic()
        if peer == "libmosquitto":
            server = Subscriber(broker, 0, channels, ["#"])
            things.append(server)
            server.line()
            server.line()
            return {"ready_s": time.monotonic() - begun, "cpu_us": tools.cpu(server.pid) / channels * 1e6}
        server = Gateway(directory, broker, "[{ topic: '#' }]", limits=", channels: 2000000, history: 4GiB")
        things.append(server)
        while server.metric("sluice_channels") < channels:
            time.sleep(0.05)
            if time.monotonic() - begun > tools.PATIENCE:
                raise RuntimeError("the channels do not come")
        found = {"ready_s": time.monotonic() - begun, "cpu_us": tools.cpu(server.pid) / channels * 1e6,
                 "memory": (tools.memory(server.pid) - 8e6) / channels - len(tools.PAYLOAD)}
        quiet = tools.figures_of(tools.probe(server, broker, topic="bench/quiet", interval_us=1000, seconds=1.5))
        other = tools.probe(server, broker, interval_us=1000, seconds=2.5)
        time.sleep(0.7)
        used, begun = tools.cpu(server.pid), time.monotonic()
        crowd = Crowd(directory, server.port, 1, [server.stream("home/#")], mark='"ts":', nice=10)
        things.append(crowd)
        crowd.wait(channels - 1)
        found |= {"snapshot_s": time.monotonic() - begun, "snapshot_us": (tools.cpu(server.pid) - used) / channels * 1e6}
        beside = tools.figures_of(other)
        return found | {"max_us": beside["max_us"], "quiet_max_us": quiet["max_us"], "p99_us": beside["p99_us"]}


def hub(peer, directory, channels):
    """The hub alone, in CPU time of its thread, which other programs hardly disturb (slices.c)."""
    done = subprocess.run([BENCH / "slices", str(channels)], capture_output=True, text=True, timeout=tools.PATIENCE)
    if done.returncode:
        raise RuntimeError(done.stderr)

    def number(pattern):
        return float(re.search(pattern, done.stdout).group(1))
    return {"memory": number(r": (\d+) bytes each") - number(r"of which payload (\d+)"), "snapshot_us": number(r"snapshot of # +([\d.]+) us"),
            "max_us": number(r"snapshot of #.*longest turn +([\d.]+) ms") * 1000,
            "resume": number(r"resume, 0 later.*: ([\d.]+) x")}
