"""The soak test's judge must be able to find fault: each kind of fault is shown to it once, and what is allowed too."""
import asyncio
import collections
import json
import pathlib
import random
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import report  # noqa: E402
from ledger import CHANNELS, SAME, Entry  # noqa: E402
from ledger import Ledger as Publisher  # noqa: E402
from oracle import Findings, Oracle, judge_ingest, matches  # noqa: E402
from proxy import Proxy, connect_local  # noqa: E402
from spy import Spy, Truth  # noqa: E402
from commands import ended, judge_commands  # noqa: E402
from upward import Observer, Upward  # noqa: E402
from watch import FDS_GROWTH, MIB, RSS_GROWTH, Watch  # noqa: E402
from windows import judge as judge_windows  # noqa: E402


@pytest.fixture
def judge():
    findings = Findings(lambda text: None)
    truth = Truth("gateway")
    truth.life = 1
    truth.epochs["E"] = 1
    return Oracle("client", truth, findings), truth, findings


def message(n, seq, channel="soak/a/0", epoch="E"):
    return {"channel": channel, "cursor": f"{epoch}.{seq}", "data": {"c": channel, "n": n}, "ts": 1}


def gap(begin, end, channel="soak/a/0", reason="history"):
    return {"type": "gap", "channel": channel, "from": begin, "to": end, "reason": reason}


def found(findings):
    return dict(findings.counts)


def test_nothing_wrong(judge):
    oracle, _, findings = judge
    for n in range(1, 10):
        oracle.message(message(n, n * 3))
    oracle.sweep(everything=True)
    assert found(findings) == {} and oracle.counts["messages"] == 9


def test_silent_loss(judge):
    oracle, truth, findings = judge
    truth.acked["soak/a/0"] = {2: 1}
    oracle.message(message(1, 1))
    oracle.message(message(3, 5))
    oracle.sweep(everything=True)
    assert found(findings) == {"silent loss": 1}


def test_missed_by_the_gateway_itself(judge):
    oracle, _, findings = judge
    oracle.message(message(1, 1))
    oracle.message(message(3, 5))
    oracle.sweep(everything=True)
    assert found(findings) == {} and oracle.counts["missed by the gateway"] == 1


@pytest.mark.parametrize("told,wrong", [(gap("E.1", "E.4"), 0), (gap("E.1", "E.4", "soak/#"), 0), (gap("E.1", "E.4", "soak/b/#"), 1),
                                        (gap("E.1", "E.2"), 1), (gap("E.3", "E.4"), 1), (gap("E.5", "E.9"), 1)])
def test_a_gap_covers_what_lies_in_it(judge, told, wrong):
    oracle, truth, findings = judge
    truth.note_seen(1, "soak/a/0", 2, 3) # another client saw it, as number 3
    oracle.message(message(1, 1))
    oracle.gap(told)
    oracle.message(message(3, 5))
    oracle.sweep(everything=True)
    assert findings.counts["silent loss"] == wrong


@pytest.mark.parametrize("second", [message(1, 1), message(1, 2), message(5, 1)])
def test_double_or_disorder(judge, second):
    oracle, _, findings = judge
    oracle.message(message(1, 1))
    oracle.message(message(5, 9))
    oracle.message(second)
    assert found(findings) == {"double or disorder": 1}


def test_another_epoch_needs_a_gap(judge):
    oracle, truth, findings = judge
    truth.epochs["F"] = 2
    oracle.message(message(1, 9))
    oracle.message(message(1, 1, "soak/b/0"))
    oracle.gap(gap("E.9", "F.3", reason="epoch"))
    oracle.message(message(4, 1, epoch="F"))
    assert found(findings) == {}
    oracle.message(message(4, 2, "soak/b/0", epoch="F"))
    assert found(findings) == {"silent loss": 1}


def test_epochs_without_a_message_are_passed_over(judge):
    oracle, truth, findings = judge
    truth.epochs.update(F=2, G=3)
    oracle.message(message(1, 9))
    oracle.gap(gap("E.9", "F.3", "soak/#", "epoch"))
    oracle.gap(gap("F.3", "G.0", "soak/#", "epoch"))
    oracle.message(message(4, 1, epoch="G"))
    assert found(findings) == {}


def test_raw_sockets(judge):
    oracle, truth, findings = judge
    truth.acked["soak/a/0"] = {2: 1, 4: 1}
    for n, slow in ((1, False), (3, True), (5, False), (5, False)):
        oracle.raw_message({"c": "soak/a/0", "n": n}, slow)
    oracle.raw_sweep(everything=True)
    assert found(findings) == {"silent loss": 1, "double or disorder": 1}


def test_paced_values_may_leave_out_but_not_go_back(judge):
    _, truth, findings = judge
    oracle = Oracle("paced", truth, findings, "latest")
    for n in (1, 5, 9):
        oracle.message(message(n, n))
    oracle.resumed()
    oracle.message(message(9, 10))
    assert found(findings) == {}
    oracle.message(message(9, 11))
    oracle.message(message(8, 12))
    assert found(findings) == {"double or disorder": 2}


class Ledger:
    def __init__(self):
        self.entries = {channel: {} for channel in CHANNELS}

    def add(self, n, begin, end):
        entry = self.entries["soak/a/0"][n] = Entry()
        entry.begin, entry.end = begin, end

    def broker_life(self, at):
        return 1


def packet(first, body):
    return bytes([first, len(body)]) + body


def publish(pid, n, qos=1):
    topic = b"soak/a/0"
    return packet(0x30 | qos << 1, len(topic).to_bytes(2, "big") + topic + pid.to_bytes(2, "big") + b"\x00" + json.dumps({"n": n}).encode())


@pytest.mark.parametrize("skipped,begin,end,wrong", [(None, 0, 0, 0), (2, 20, 21, 1), (2, 5, 21, 0), (2, 20, None, 0)])
def test_what_the_gateway_did_not_take(judge, skipped, begin, end, wrong):
    """Two was published (begin) and acknowledged (end) and not taken; the subscription is from second 10."""
    _, truth, findings = judge
    ledger = Ledger()
    spy = Spy(truth)
    spy.feed("down", packet(0x90, b"\x00\x01\x00\x01"))
    spy.subscribed = 10
    for n in (1, 2, 3):
        ledger.add(n, *((begin, end) if n == skipped else (20, 21)))
        if n != skipped:
            bytes = publish(n, n)
            for at in range(len(bytes)): # however it is cut
                spy.feed("down", bytes[at:at + 1])
            spy.feed("up", packet(0x40, n.to_bytes(2, "big")))
    assert truth.acked["soak/a/0"] == {n: 1 for n in (1, 2, 3) if n != skipped}
    judge_ingest(truth, ledger, findings, False)
    assert findings.counts["not taken"] == wrong


@pytest.mark.parametrize("arrived,span,wrong", [
    (True, (-100, None, -1), 0),   # it came
    (False, (-100, None, -1), 1),  # something that was sent later came
    (False, (-40, None, -90), 0),  # subscribed in the meantime
    (False, (-100, -49, -51), 0),  # the broker ended before anything else came
    (False, (-100, None, -90), 1), # nothing ended, and nothing comes
])
def test_publish_that_was_answered_must_arrive(arrived, span, wrong):
    class Gateway:
        name = "gateway"
    findings, observer, now = Findings(lambda text: None), Observer(0), time.monotonic()
    upward = Upward(Gateway, observer, findings, collections.Counter())
    upward.published = [(7, now - 50, now - 49.9)]
    observer.spans = [[at and now + at for at in span]]
    if arrived:
        observer.arrived[("up/gateway", 7)] = 1
    upward.judge()
    assert findings.counts["publish lost"] == wrong and not upward.published


def test_unchanged_values_on_a_route_with_on_change(judge):
    oracle, truth, findings = judge

    def got(n, seq, epoch="E"):
        frame = message(n, seq, "soak/o/0", epoch)
        frame["data"]["v"] = n // SAME
        oracle.message(frame)
    truth.epochs["F"] = 2
    got(4, 1)
    got(8, 2)
    got(13, 3)
    oracle.gap(gap("E.3", "F.0", "soak/o/0", "epoch"))
    got(14, 1, "F") # a new process does not know what was before
    assert found(findings) == {}
    got(15, 2, "F")
    assert found(findings) == {"unchanged": 1}
    paced = Oracle("paced", truth, findings, "latest")
    for n in (4, 5):
        paced.message(message(n, n, "soak/o/0"))
    oracle.sweep(everything=True)
    assert found(findings) == {"unchanged": 1}


def test_a_mark_says_something_new():
    """The calm moment waits for it: on a route with on_change it must not be what was there before."""
    sent = []

    class Client:
        def publish(self, channel, text, qos, retain):
            sent.append(json.loads(text))
            return collections.namedtuple("Info", "rc mid")(0, len(sent))
    ledger = Publisher(0, random.Random(1))
    ledger.client = Client()
    for number in range(40):
        n = ledger.publish("soak/o/0", new=number % 3 == 0)
        assert sent[-1]["n"] == n and sent[-1]["v"] == n // SAME
        assert number % 3 or number == 0 or sent[-1]["v"] > sent[-2]["v"]
        assert number == 0 or n > sent[-2]["n"]
    assert len({one["v"] for one in sent}) < 30 # and others do not


@pytest.mark.parametrize("frame, kind", [
    ({"type": "response", "id": 3, "data": {"n": 3}}, None), ({"type": "error", "id": 3, "code": "timeout"}, None),
    ({"type": "response", "id": 3, "data": {"n": 2}}, "wrong answer"), ({"type": "response", "id": 2, "data": {"n": 2}}, "answered twice")])
def test_answers_to_requests(frame, kind):
    findings = Findings(lambda text: None)
    upward = Upward(collections.namedtuple("Gateway", "name")("gateway"), None, findings, collections.Counter())
    upward.n = 3
    upward.response(frame)
    assert found(findings) == ({kind: 1} if kind else {})
    upward.judge_requests()
    assert findings.counts["no answer"] == (0 if frame["type"] == "response" and not kind else 1)


def test_growth_is_found():
    class Gateway:
        name = "gateway"
    for rss, fds, kinds in ((0, 0, set()), (2 * RSS_GROWTH // 20, 0, {"memory"}), (0, 2 * FDS_GROWTH // 10, {"descriptors"})):
        findings = Findings(lambda text: None)
        watch = Watch(Gateway, findings, False)
        watch.samples = [(at, 1, 10 * MIB + at * rss, 20 + at * fds, True) for at in range(30)]
        watch.judge()
        assert set(findings.counts) == kinds, (rss, fds)
        assert "polyline" in report.svg([watch], 30)


def test_filters():
    assert matches("soak/#", "soak/a/0") and matches("soak/#", "soak") and matches("soak/+/0", "soak/a/0")
    assert not matches("soak/+", "soak/a/0") and not matches("soak/a/#", "soak/b/0")


async def test_the_proxy_does_what_it_is_told():
    """Half-closed: the other direction goes on; vanished: a reset here, silence there; cut: both ends."""
    ends = []

    async def echo(reader, writer):
        ends.append((reader, writer))
        while data := await reader.read(100):
            writer.write(data)
        writer.write(b"end")
        await writer.drain()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = await Proxy("test", lambda: connect_local(port), random.Random(1)).start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
        proxy.half_close("up")
        assert await asyncio.wait_for(reader.readexactly(3), 5) == b"end"
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"a")
        await asyncio.wait_for(reader.readexactly(1), 5)
        proxy.vanish()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert not ends[-1][0].at_eof()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"b")
        await asyncio.wait_for(reader.readexactly(1), 5)
        proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        stalled = asyncio.ensure_future(proxy.stall(0.3))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        begin = asyncio.get_running_loop().time()
        writer.write(b"c")
        await asyncio.wait_for(reader.readexactly(1), 5)
        assert asyncio.get_running_loop().time() - begin > 0.2
        await stalled
    finally:
        await proxy.close()
        server.close()


@pytest.mark.parametrize("kept,back,allowed", [(False, 1, False), (True, 4, True), (True, 25, False)])
def test_what_a_kept_session_sends_again_after_a_kill(judge, kept, back, allowed):
    oracle, truth, findings = judge
    truth.kept = kept
    truth.epochs["F"] = 2
    oracle.message(message(30, 9))
    oracle.gap(gap("E.9", "F.3", reason="epoch"))
    oracle.message(message(30 - back, 1, epoch="F"))
    assert found(findings) == ({} if allowed else {"double or disorder": 1})
    oracle.message(message(30 - back - 1, 2, epoch="F")) # within an epoch never
    assert found(findings)["double or disorder"] == (1 if allowed else 2)


@pytest.mark.parametrize("n,frame,there,wrong", [
    (4, {"type": "confirmed", "cursor": "E.1"}, {"n": 4}, None),
    (4, {"type": "confirmed", "cursor": "E.1"}, {"n": 3}, "confirmed without the state"),
    (4, {"type": "confirmed", "cursor": "E.2"}, {"n": 4}, "confirmed without the state"),  # no message has this cursor
    (5, {"type": "confirmed", "cursor": "E.1"}, {"n": 5}, "confirmed without the state"),  # the lamp ignored it
    (4, {"type": "timeout", "cursor": "E.1"}, {"n": 3}, "no answer"),
])
def test_commands(n, frame, there, wrong):
    findings = Findings(lambda text: None)
    upward = Upward(collections.namedtuple("Gateway", "name")("gateway"), None, findings, collections.Counter())
    ended(upward, n, frame, {"E.1": there})
    judge_commands(upward)
    assert found(findings) == ({wrong: 1} if wrong else {})


@pytest.mark.parametrize("wrong,found_", [
    (None, {}), ("late", {}), ("missing", {"windows": 1}), ("count", {"windows": 1}), ("max", {"windows": 1}),
    ("last", {"windows": 1}), ("invented", {"windows": 1}), ("none", {"windows": 1}),
])
def test_windows(wrong, found_):
    """Eight seconds with three messages each, the numbers of a second out of order. The first window may be cut, the last one grow."""
    findings = Findings(lambda text: None)
    messages = [{"ts": 1000 * second + 100 * i, "data": {"n": 10 * second + n}} for second in range(8) for i, n in enumerate((2, 0, 1))]
    got = {1000 * s: {"count": 3, "min": 10 * s, "max": 10 * s + 2, "last": 10 * s + 1} for s in range(2, 8)}
    if wrong == "late":
        got[7000]["count"] = 1
    elif wrong == "missing":
        del got[4000]
    elif wrong == "invented":
        messages = [message for message in messages if message["ts"] // 1000 != 5]
    elif wrong == "none":
        got = {}
    elif wrong:
        got[3000][wrong] += 1
    assert judge_windows("steady", got, messages, findings) == (0 if wrong == "none" else 5)
    assert found(findings) == found_
