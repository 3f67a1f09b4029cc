"""The faults of a cluster, each while messages flow and clients hop. A case returns what the judge says, and more to look at."""
import pathlib
import random
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("support", "cluster", "integration")]

import cluster
from harness import Broker, free_port, wait_until
from tlsfiles import certificate
import hoppers
from hoppers import Field


class World:
    """Broker, engine and nodes; `with` leaves nothing behind."""

    def __init__(self, directory, nodes=3, append=False, cut=False, persistent=False, tls=False, **options):
        self.cut, self.persistent, self.tls = cut, persistent, tls
        self.directory = pathlib.Path(directory)
        self.processes = []
        self.count, self.append, self.options = nodes, append, options
        self.lines = {}     # node's name -> its lines to the engine and to the broker
        self.field = None   # the publishers and clients, once they are there

    def __enter__(self):
        try:
            if self.tls:
                self.start_tls()
                return self.ready()
            kept = cluster.BROKER.replace("persistence false", f"persistence true\npersistence_location {self.directory}/")
            self.broker = self.keep(cluster.Keeper(self.directory, config=kept) if self.persistent
                                    else Broker(self.directory, config=cluster.BROKER))
            self.plain = self.broker.port
            return self.ready()
        except BaseException:
            self.__exit__()
            raise

    def start_tls(self):
        """A broker whose first listener speaks TLS; devices use the other."""
        cert, key = certificate(self.directory, "broker")
        self.plain = free_port()
        self.broker = self.keep(Broker(self.directory, config=f"{cluster.BROKER}\ncertfile {cert}\nkeyfile {key}\n"
                                       f"listener {self.plain} 127.0.0.1"))
        self.options["ca"] = cert

    def ready(self):
        self.redis = self.keep(cluster.Redis(self.directory / "redis", append=self.append))
        self.redis.ask("SET", "{test}:epoch", "tested")  # as if there had been a cluster: the very first start waits two leases
        self.nodes = [self.node(name) for name in "abcdefgh"[:self.count]]
        for node in self.nodes:
            node.wait_ready()
        self.leader()
        return self

    def node(self, name):
        engine, broker = self.redis.port, self.broker.port
        if self.cut:
            self.lines[name] = self.keep(cluster.Line(engine)), self.keep(cluster.Line(broker))
            engine, broker = (line.port for line in self.lines[name])
        if self.tls:
            broker = f"mqtts://localhost:{broker}"
        return self.keep(cluster.Node(self.directory, name, broker, engine, ready=False, **self.options))

    def keep(self, process):
        self.processes.append(process)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def leader(self):
        return cluster.leader(self.nodes)

    def others(self):
        first = self.leader()
        return [node for node in self.nodes if node is not first]

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.directory.glob("*.log")))

    def total(self, name):
        return sum(node.metric(name) for node in self.nodes if node.child.poll() is None)


PACE = 1.0  # of a case: a short selection hurries


def flow(seconds):
    """Lets messages flow: a case is about what happens among them."""
    time.sleep(seconds * PACE)


def nothing(world, _):
    flow(3)


def kill_leader(world, _):
    """kill -9 of the leader under load; it comes back later."""
    flow(1.5)
    dead = world.leader()
    dead.end()
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not dead), 10, "another leader")
    flow(1.5)
    dead.again()


def crash_points(world, rng):
    """kill -9 of the leader between the append and the PUBACK: of what the engine has, the broker knows nothing yet, or the leader itself."""
    for which, way in ((0, "back"), (1, "out"), (0, "back")):
        flow(1)
        dead = world.leader()
        line = world.lines[dead.node][which]
        line.hold(way)
        flow(rng.uniform(0.05, 0.5))
        dead.end()
        wait_until(lambda: any(node.leads() for node in world.nodes if node is not dead), 10, "another leader")
        line.splice()
        dead.again()
    flow(1)


def kill_other(world, rng):
    """kill -9 of a node that only serves; its clients go on elsewhere, by another transport."""
    flow(1)
    dead = rng.choice(world.others())
    dead.end()
    flow(1.5)
    dead.again()
    flow(1)


def rolling(world, _):
    """SIGTERM and a new start of each node in turn."""
    for node in world.nodes:
        flow(0.7)
        node.stop(20)
        node.again()
    flow(0.7)


def pause_leader(world, _):
    """SIGSTOP of the leader for longer than its lease, then SIGCONT: it must see that it leads no more."""
    flow(1)
    paused = world.leader()
    paused.signal(signal.SIGSTOP)
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not paused), 10, "another leader")
    flow(1)
    paused.signal(signal.SIGCONT)
    wait_until(lambda: not paused.leads(), 5, "the old leader to know")
    flow(1)


def kill_engine(world, _):
    """kill -9 of the engine; it comes back, empty unless it writes to the disk."""
    flow(1)
    world.redis.end()
    flow(1)
    world.redis.start()
    world.leader()
    flow(1.5)


def flush_engine(world, _):
    """Somebody empties the engine by hand."""
    flow(1)
    world.redis.ask("FLUSHALL")
    flow(1)
    world.leader()
    flow(1.5)


def kill_both(world, _):
    """Leader and engine at once: what only they had is lost, and told."""
    flow(1)
    dead = world.leader()
    world.redis.end()
    dead.end()
    world.redis.start()
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not dead), 15, "another leader")
    flow(1)
    dead.again()


def pause_engine(world, _):
    """SIGSTOP of the engine for longer than the lease."""
    flow(1)
    world.redis.signal(signal.SIGSTOP)
    flow(3)
    world.redis.signal(signal.SIGCONT)
    world.leader()
    flow(1.5)


def promote(world, _):
    """A replica that lags takes the master's place: the end of the log is gone with the master."""
    folder = world.directory / f"replica-{len(world.processes)}"
    replica = world.keep(cluster.Redis(folder))
    replica.ask("REPLICAOF", "127.0.0.1", str(world.redis.port))
    wait_until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), 10, "the replica")
    flow(1)
    replica.signal(signal.SIGSTOP)  # from here on it gets nothing
    flow(1)
    port = world.redis.port
    world.redis.end()
    replica.signal(signal.SIGCONT)
    replica.ask("REPLICAOF", "NO", "ONE")
    replica.ask("SAVE")
    replica.end()
    replica.port = port  # the address moves with the master
    replica.start()
    world.redis = replica
    world.leader()
    flow(1.5)


def kill_broker(world, rng):
    """kill -9 of the broker, which keeps sessions and messages on its disk; what the leader has acknowledged lately it sends again.

    mosquitto acknowledges before it saves, and forgets what lies between (docs/scaling.md): so it has saved when it dies."""
    flow(1)
    line = world.lines.get(world.leader().node, [None, None])[1]
    if line:
        line.hold("out")
        flow(rng.uniform(0.1, 0.5))
    with world.field.at_rest():
        world.broker.save()
        world.broker.kill()
        if line:
            line.splice()
        flow(0.5)
        world.broker.start()
    for node in world.nodes:
        node.wait_ready()
    flow(1.5)


def cut_leader_from_engine(world, _):
    """A cable: the leader sees the broker, and not the engine. It must let another one lead."""
    flow(1)
    first = world.leader()
    world.lines[first.node][0].cut()
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not first), 15, "another leader")
    wait_until(lambda: not first.leads(), 5, "the old leader to know")
    flow(1)
    world.lines[first.node][0].splice()
    first.wait_ready()
    flow(1)


def cut_leader_from_broker(world, _):
    """The leader sees the engine, and not the broker: the messages wait there until the cable is mended."""
    flow(1)
    first = world.leader()
    world.lines[first.node][1].cut()
    flow(2)
    world.lines[first.node][1].splice()
    first.wait_ready()
    flow(1)


def cut_other(world, rng):
    """A node that only serves sees nothing for a while."""
    flow(1)
    node = rng.choice(world.others())
    for line in world.lines[node.node]:
        line.cut()
    flow(3)
    for line in world.lines[node.node]:
        line.splice()
    node.wait_ready()
    flow(1)


def slow_other(world, rng):
    """A node hangs until the log no longer reaches back to where it was: only what it can't know is told, by gaps."""
    flow(0.5)
    node = rng.choice(world.others())
    node.signal(signal.SIGSTOP)
    flow(3)
    world.redis.ask("XTRIM", "{test}:log", "MAXLEN", "10")  # as the log does when more comes
    node.signal(signal.SIGCONT)
    node.wait_ready()
    flow(1)


CASES = {
    "C1": nothing,
    "C2": kill_leader,
    "C2-tls": kill_leader,
    "C3": kill_other,
    "C4": rolling,
    "C5": pause_leader,
    "C5-tls": pause_leader,
    "C6": crash_points,
    "C6-tls": crash_points,
    "C7": kill_engine,
    "C7-pause": pause_engine,
    "C8": promote,
    "C9": kill_both,
    "C10": kill_broker,
    "C11-engine": cut_leader_from_engine,
    "C11-broker": cut_leader_from_broker,
    "C11-both": cut_other,
    "C14": slow_other,
    "C15": flush_engine,
}
GAPS = {"C9", "C14"}  # where something may be lost, and must be told
WORLDS = {"C2-tls": {"tls": True}, "C5-tls": {"tls": True}, "C6": {"cut": True}, "C6-tls": {"cut": True, "tls": True},
          "C10": {"persistent": True, "cut": True}, "C11-engine": {"cut": True}, "C11-broker": {"cut": True}, "C11-both": {"cut": True}}


def run(names, directory, seed=0, append=False, rate=300, clients=6, nodes=3, pace=1.0):
    """Returns the judge's report of one case, or of several one after the other in the same cluster, with `log` for when it is bad."""
    global PACE
    PACE = pace
    names = [names] if isinstance(names, str) else names
    with World(directory, nodes, append, routes=hoppers.ROUTES, extra=hoppers.EXTRA, **WORLDS.get(names[0], {})) as world:
        field = Field(world.plain, world.nodes, clients=clients, rate=rate, stay=(0.3 * pace, 3.0 * pace))
        world.field = field
        try:
            for name in names:
                CASES[name](world, random.Random(seed))
                world.leader()
        finally:
            report = field.finish()
        for metric in ("mended", "fenced", "lost", "redelivered", "takeovers"):
            report[metric] = world.total(f"sluice_engine_{metric}_total")
        report["log"] = world.logs()
    return report
