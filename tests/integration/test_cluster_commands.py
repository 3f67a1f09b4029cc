"""What gateways ask of the engine is there since 6.2.0: the server itself says since when it has each command and each argument."""
import json
import re
import subprocess
import sys

import pytest

import cluster
from harness import ROOT, Mqtt, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

OLDEST = (6, 2, 0)
SOURCES = sorted((ROOT / "gateway/engine").glob("valkey*.c")) + [ROOT / "gateway/engine/resp.c"]


def version(text):
    return tuple(int(part) for part in text.split("."))


def sent():
    """Commands with their words in capitals, as the sources name them: in scripts, in questions and in lists of words."""
    found = {}
    for path in SOURCES:
        text = path.read_text()
        code = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        calls = re.findall(r"(?:redis\.p?call|\badd)\(((?:[^()]|\([^()]*\))*)\)", code)
        calls += re.findall(r"(?:gw_resp_ask|lead_ask)\(((?:[^()]|\([^()]*\))*)\)", code)
        calls += re.findall(r"\bwords\[\] = \{(.*?)\}", code, flags=re.S)
        for call in calls:
            words = re.findall(r"""["']([A-Z][A-Z~=]*)["']""", call)
            if words:
                found.setdefault(words[0], set()).update(words[1:])
        for word in re.findall(r'(?:batch_word|gw_resp_arg)\(\w*,? ?"([A-Z]+)"', code) + re.findall(r'gw_resp_arg\(&args, "([A-Z]+)"', code):
            found.setdefault(word, set())
    return found


def documents(redis, names):
    done = subprocess.run(["redis-cli", "-p", str(redis.port), "--json", "COMMAND", "DOCS", *sorted(names)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def arguments(entry):
    """Every argument below it: its word, and since when it is there."""
    for argument in entry.get("arguments", []):
        if "token" in argument:
            yield argument["token"], argument.get("since", "1.0.0")
        yield from arguments(argument)


def too_new(name, words, entry):
    """What of a command and its words came after the oldest server that we name."""
    if version(entry["since"]) > OLDEST:
        yield f"{name} is there since {entry['since']}"
    for word, since in arguments(entry):
        if word in words and version(since) > OLDEST:
            yield f"{name} {word} is there since {since}"
    for since, change in entry.get("history", []):
        for word in words:
            if version(since) > OLDEST and re.search(rf"`{word}`", change):
                yield f"{name}: since {since}: {change}"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with cases.World(tmp_path_factory.mktemp("commands"), nodes=2) as world:
        yield world


def test_the_sources(world):
    commands = {name: words for name, words in sent().items() if name not in ("GET", "NX", "PX")} # words of others
    commands.setdefault("GET", set())
    assert {"EVAL", "EVALSHA", "XADD", "XREAD", "XRANGE", "XREVRANGE", "SET", "GETDEL", "ZADD", "HSET", "TIME", "AUTH", "SELECT"} <= set(commands), commands
    assert {"GT"} <= commands["ZADD"] and {"NX", "PX"} <= commands["SET"] and "MAXLEN" in commands["XADD"], commands
    commands["SET"].add("GET") # of a claim
    known = documents(world.redis, [name.lower() for name in commands])
    assert set(known) == {name.lower() for name in commands}, set(commands) ^ {name.upper() for name in known}
    wrong = [line for name, words in commands.items() for line in too_new(name, words, known[name.lower()])]
    # `SET NX GET` together is 7.0's; we send them apart.
    assert not [line for line in wrong if "`NX` and `GET` options to be used together" not in line], wrong


def test_what_came_in(world):
    """And what two gateways really sent, as the server counted it."""
    device = Mqtt(world.plain)
    try:
        device.publish("plant/1/t", b"1")
        late = world.keep(cluster.Node(world.directory, "late", world.broker.port, world.redis.port))
        wait_until(lambda: late.get("/channels/plant/1/t").status_code == 200, what="the value")
        assert late.post("/ticket").status_code in (200, 401, 403, 404, 405)
    finally:
        device.close()
    counted = re.findall(r"cmdstat_([a-z]+)(?:\|[a-z]+)?:", world.redis.ask("INFO", "commandstats"))
    names = {name.upper() for name in counted} - {"PING", "CONFIG", "COMMAND", "CLIENT"} # the tests' own
    known = documents(world.redis, [name.lower() for name in names])
    assert {"XADD", "EVALSHA", "XREAD"} <= names
    assert not [line for name in names for line in too_new(name, set(), known[name.lower()])]
