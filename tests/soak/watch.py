"""Memory and descriptors of the gateways over time, and their bounds."""
import statistics
import time

MIB = 1 << 20
# The configuration bounds what a gateway holds: 32 MiB of history, 64 KiB of queue for each of 250 sessions, buffers.
RSS_TOTAL = 128 * MIB
# Descriptors: 250 connections (limits.connections), and what the process itself has.
FDS_TOTAL = 250 + 60
# After the first third the calm moments may not differ by more than this.
RSS_GROWTH = 16 * MIB
FDS_GROWTH = 24


class Watch:
    def __init__(self, gateway, findings, sanitized):
        self.gateway, self.findings, self.sanitized = gateway, findings, sanitized
        self.samples = [] # (seconds, life, rss, fds, calm)
        self.told = set()

    def sample(self, begin, calm=False):
        usage = self.gateway.usage()
        if not usage:
            return
        rss, fds = usage
        self.samples.append((time.monotonic() - begin, self.gateway.truth.life, rss, fds, calm))
        if rss > RSS_TOTAL and not self.sanitized:
            self.tell("memory", f"{self.gateway.name}: {rss // MIB} MiB resident, the bound is {RSS_TOTAL // MIB} MiB")
        if fds > FDS_TOTAL:
            self.tell("descriptors", f"{self.gateway.name}: {fds} descriptors, the bound is {FDS_TOTAL}")

    def tell(self, kind, text):
        if kind not in self.told:
            self.told.add(kind)
            self.findings.add(kind, text)

    def growth(self):
        """Of the longest life: (memory, descriptors) at the end less after the first third, by medians of calm moments."""
        lives = {}
        for sample in self.samples:
            if sample[4]:
                lives.setdefault(sample[1], []).append(sample)
        calm = max(lives.values(), key=len, default=[])
        if len(calm) < 6:
            return None
        part = max(2, len(calm) // 6)
        early, late = calm[len(calm) // 3:][:part], calm[-part:]
        return tuple(int(statistics.median(s[i] for s in late) - statistics.median(s[i] for s in early)) for i in (2, 3))

    def judge(self):
        grown = self.growth()
        if not grown:
            return
        if grown[0] > RSS_GROWTH and not self.sanitized:
            self.findings.add("memory", f"{self.gateway.name}: {grown[0] // 1024} KiB more in calm moments at the end than after "
                              f"the first third, the bound is {RSS_GROWTH // 1024} KiB")
        if grown[1] > FDS_GROWTH:
            self.findings.add("descriptors", f"{self.gateway.name}: {grown[1]} more descriptors in calm moments at the end than "
                              f"after the first third, the bound is {FDS_GROWTH}")
