"""Judges what each client got. The rules are in docs/soak.md; a finding is a text that names client, channel and numbers."""
import collections
import time

SETTLE = 20 # seconds until everybody who was to see a message has seen it


def matches(filter, channel):
    want, have = filter.split("/"), channel.split("/")
    for at, level in enumerate(want):
        if level == "#":
            return True
        if at >= len(have) or level not in ("+", have[at]):
            return False
    return len(want) == len(have)


def parse(cursor):
    epoch, number = cursor.rsplit(".", 1)
    return epoch, int(number)


class Findings:
    """All that was wrong. The first thousand texts are kept, and the count of each kind."""

    def __init__(self, log):
        self.texts, self.counts, self.log = [], collections.Counter(), log

    def add(self, kind, text):
        self.counts[kind] += 1
        if len(self.texts) < 1000:
            self.texts.append((time.time(), kind, text))
        if self.counts[kind] <= 20:
            self.log(f"FINDING {kind}: {text}")


IN_FLIGHT = 20 # what mosquitto sends before the first is acknowledged
Last = collections.namedtuple("Last", "epoch seq n v", defaults=[None]) # v: what counts on a route with on_change
Hole = collections.namedtuple("Hole", "at channel epoch n before after gaps")


class Oracle:
    """Of one client. `kind`: all (every message or a gap), latest (a pace), raw (no cursors, no gaps)."""

    def __init__(self, name, truth, findings, kind="all"):
        self.name, self.truth, self.findings, self.kind = name, truth, findings, kind
        self.last = {}
        self.gaps = collections.deque(maxlen=5000)
        self.holes = collections.deque()
        self.counts = collections.Counter()
        self.fresh = set() # channels for which the last value may come again (a pace, after resuming)

    def resumed(self):
        self.counts["connections"] += 1
        self.fresh = set(self.last)

    def anew(self, filter):
        """The client begins again without a cursor: what comes is not compared with what came before."""
        for channel in [channel for channel in self.last if matches(filter, channel)]:
            del self.last[channel]

    def gap(self, frame):
        begin, end = parse(frame["from"]), parse(frame["to"])
        self.counts["gaps " + frame["reason"]] += 1
        self.gaps.append((frame["channel"], begin, end, frame["reason"]))

    def gaps_of(self, channel):
        return [gap for gap in self.gaps if gap[0] == channel or matches(gap[0], channel)]

    def message(self, frame):
        channel, n = frame["channel"], frame["data"]["n"]
        if frame["data"]["c"] != channel:
            self.findings.add("mixed up", f"{self.name}: {channel} brought {frame['data']}")
        epoch, seq = parse(frame["cursor"])
        life = self.truth.epochs.setdefault(epoch, self.truth.life) # a client may hear of a new one before the program
        self.counts["messages"] += 1
        if self.kind == "all":
            self.truth.note_seen(life, channel, n, seq)
        before, self.last[channel] = self.last.get(channel), Last(epoch, seq, n, frame["data"].get("v"))
        again = channel in self.fresh
        self.fresh.discard(channel)
        if not before:
            return
        if self.kind == "latest":
            if (n < before.n and not self.came_again(before, self.last[channel])) or (n == before.n and not again and epoch == before.epoch):
                self.findings.add("double or disorder", f"{self.name}: {channel} {before} then {self.last[channel]}")
            return
        if epoch != before.epoch:
            self.other_epoch(channel, before, self.last[channel])
        elif before.v is not None and before.v == self.last[channel].v and n != before.n:
            self.findings.add("unchanged", f"{self.name}: {channel} {before} then {self.last[channel]} on a route with on_change")
        elif n <= before.n or seq <= before.seq:
            self.findings.add("double or disorder", f"{self.name}: {channel} {before} then {self.last[channel]}")
        else:
            self.note_holes(channel, before, self.last[channel])

    def came_again(self, before, now):
        """At QoS 1 the broker gives a kept session's messages that a killed gateway had not acknowledged to the next one, which can't
        know that the other had handed them on. As many as are in flight at most."""
        return self.truth.kept and before.epoch != now.epoch and before.n - now.n < IN_FLIGHT

    def other_epoch(self, channel, before, now):
        reached, gaps = {before.epoch}, self.gaps_of(channel)
        behind = set()  # a kept session is told again from its own place, which is before what the client has
        for _, begin, end, _ in reversed(gaps):
            if end[0] == before.epoch or end[0] in behind:
                behind.add(begin[0])
        for _, begin, end, _ in gaps: # maybe over epochs that had no message of this channel; gaps are in the order they came
            if begin[0] in reached or begin[0] in behind:
                reached.add(end[0])
        if now.epoch not in reached:
            self.findings.add("silent loss", f"{self.name}: {channel} went from {before} to {now} without an epoch gap, but {gaps[-4:]}")
        if now.n < before.n and not self.came_again(before, now):
            self.findings.add("double or disorder", f"{self.name}: {channel} {before} then {now}")
        self.counts["new epochs"] += 1

    def note_holes(self, channel, before, now):
        if now.n == before.n + 1:
            return
        gaps = [gap for gap in self.gaps_of(channel) if gap[1][0] == now.epoch and gap[2][0] == now.epoch and
                gap[1][1] < now.seq and gap[2][1] > before.seq]
        for n in range(before.n + 1, now.n):
            self.holes.append(Hole(time.monotonic(), channel, now.epoch, n, before, now, gaps))

    def sweep(self, everything=False):
        """Decides about missing messages, once everybody else has had the time to say whether the gateway had them."""
        while self.holes and (everything or time.monotonic() - self.holes[0].at > SETTLE):
            hole = self.holes.popleft()
            life = self.truth.epochs[hole.epoch]
            if not self.truth.has(life, hole.channel, hole.n):
                self.counts["missed by the gateway"] += 1
                continue
            seq = self.truth.seqs.get((life, hole.channel), {}).get(hole.n)
            covered = any(seq is None or begin[1] < seq <= end[1] for _, begin, end, _ in hole.gaps)
            if covered:
                self.counts["covered by gaps"] += 1
            else:
                self.findings.add("silent loss", f"{self.name}: {hole.channel} n={hole.n} (cursor number {seq}) missing "
                                  f"between {hole.before} and {hole.after}; gaps there: {hole.gaps}")

    def raw_message(self, data, slow):
        """Within one raw connection; `slow`: it was held back, and a raw socket has no way to tell a gap."""
        channel, n = data["c"], data["n"]
        self.counts["messages"] += 1
        before, self.last[channel] = self.last.get(channel), Last(None, 0, n)
        if not before:
            return
        if n <= before.n:
            self.findings.add("double or disorder", f"{self.name}: {channel} {before.n} then {n}")
        for missing in range(before.n + 1, n):
            self.holes.append((time.monotonic(), channel, missing, self.truth.life, slow))

    def raw_sweep(self, everything=False):
        while self.holes and (everything or time.monotonic() - self.holes[0][0] > SETTLE):
            _, channel, n, life, slow = self.holes.popleft()
            if not self.truth.has(life, channel, n):
                self.counts["missed by the gateway"] += 1
            elif slow:
                self.counts["passed over, reading slowly"] += 1
            else:
                self.findings.add("silent loss", f"{self.name}: {channel} n={n} missing on a raw socket that read all the time")


def judge_ingest(truth, ledger, findings, persistent):
    """The broker's side: what was acknowledged to the publisher while the gateway was subscribed must have been taken by it.
    Goes by order: the broker keeps it for one publisher, so where a later message was taken on a connection, all those that
    were published (from start to acknowledgement) since it was subscribed must have been. With a session that the broker
    keeps, "since" goes back to the first subscription in this life of the broker."""
    for link in truth.links:
        if link.subscribed is None:
            continue
        since = link.subscribed
        if persistent:
            life = ledger.broker_life(link.subscribed)
            since = truth.sessions[life] = min(since, truth.sessions.get(life, since))
        for channel, highest in link.last.items():
            taken = truth.acked.get(channel, {})
            for n in range(highest, link.judged.get(channel, 0), -1):
                entry = ledger.entries[channel].get(n)
                if entry is None or entry.begin < since:
                    break
                if entry.end is None or n in taken:
                    continue
                findings.add("not taken", f"{truth.name}: {channel} n={n} was acknowledged by the broker, n={highest} was taken "
                             f"on the same connection, but n={n} was not")
            link.judged[channel] = highest
    truth.links = [link for link in truth.links if not link.end]
