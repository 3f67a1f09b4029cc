"""A configuration whose rollups change: what is still there fills new windows, what is not is a gap, what nobody names leaves."""
import contextlib
import resource
import signal
import sqlite3

import pytest
from durable import Gateway, broker, client  # noqa: F401
from harness import wait_until
from test_rollup import Witness, check_with_gaps, inside
from test_series import check, history, series

ROUTES = """
  - topic: roll/{name}
    history: { store: disk, count: COUNT, rollup: { fields: FIELDS, every: EVERY, keep: KEEP } }
"""


def text(gateway, count=10000, fields="/t", every="[1s, 4s]", keep="[1h, 1d]"):
    before, after = gateway.text.split("  - topic: roll/")[0], gateway.text.split("} }\n", 1)[1]
    routes = ROUTES.replace("COUNT", str(count)).replace("FIELDS", fields).replace("EVERY", every).replace("KEEP", keep)
    return before.rstrip("\n") + routes + after


@pytest.fixture
def gateway(world, broker):
    it = Gateway(world, broker, routes=ROUTES.replace("COUNT", "10000").replace("FIELDS", "/t").replace("EVERY", "[1s, 4s]")
                 .replace("KEEP", "[1h, 1d]"), storage="", extra="workers: 2\n")
    it.start()
    return it


@pytest.fixture
def witness(gateway, client):
    it = Witness(client)
    it.watch(gateway.now)
    it.publish(range(200))
    it.has_all()
    yield it
    with contextlib.suppress(Exception):
        gateway.now.stop()
    it.leave()


def reload(sluice, text):
    sluice.config.write_text(text)
    count = sluice.text().count("reloaded")
    sluice.signal(signal.SIGHUP)
    wait_until(lambda: sluice.text().count("reloaded") > count, what="the reload")


def change(gateway, how, **kwargs):
    gateway.text = text(gateway, **kwargs)
    if how == "reload":
        reload(gateway.now, gateway.text)
    else:
        (gateway.kill if how == "kill" else gateway.restart)()


def whole(gateway, witness, field="/t", points=2):
    """A series of windows from the disk that has all messages, without a gap since the first one."""
    begin = witness.messages[0]["ts"]

    def ask():
        body = series(gateway.now, "roll/a", field=field, points=points, **{"from": str(begin - 10000)})
        return body if not inside(body["gaps"], begin) else None
    return wait_until(ask, what="windows that are filled")


def rows(gateway, sql):
    with contextlib.closing(sqlite3.connect(f"file:{gateway.path}?immutable=0", uri=True, timeout=10)) as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("how", ("reload", "restart"))
def test_a_new_length_is_filled_from_the_history(gateway, witness, how):
    """Without a further message: nothing wakes it but the configuration."""
    change(gateway, how, every="[2s]", keep="[1d]")
    body = whole(gateway, witness)
    assert body["step"] % 2000 == 0 and sum(body["count"]) == 200
    check_with_gaps(body, witness.messages, "/t")


def test_a_new_field_is_filled_from_the_history(gateway, witness):
    witness.client.client.publish("roll/a", '{"t": 1, "u": 5}')
    witness.sent += 1
    witness.has_all()
    change(gateway, "reload", fields="[/t, /u]")
    witness.publish([7])
    witness.has_all()
    body = whole(gateway, witness, field="/u")
    assert sum(body["count"]) == 1 and body["max"] == [5] and body["skipped"] == 201
    check(whole(gateway, witness), witness.messages, "/t")


def test_a_longer_keep_is_filled_from_the_history(gateway, witness):
    change(gateway, "restart", keep="[1h, 5d]")
    body = whole(gateway, witness)
    check_with_gaps(body, witness.messages, "/t")
    assert sum(body["count"]) == 200
    gateway.now.stop()
    assert rows(gateway, "SELECT keep FROM step WHERE every=4000 AND state=0") == [(5 * 86400000,)]


def test_where_the_history_is_short_the_time_before_it_is_a_gap(gateway, witness):
    change(gateway, "reload", count=20)
    change(gateway, "reload", count=20, every="[2s]", keep="[1d]")
    begin = witness.messages[0]["ts"]

    def ask():
        body = series(gateway.now, "roll/a", field="/t", points=2, **{"from": str(begin)})
        return body if sum(body["count"]) == 20 else None
    body = wait_until(ask)
    assert inside(body["gaps"], begin) and not inside(body["gaps"], witness.messages[-1]["ts"])
    check_with_gaps(body, witness.messages, "/t")


def test_a_kill_while_it_is_filled_counts_nothing_twice(gateway, witness):
    change(gateway, "reload", every="[2s]", keep="[1d]")
    gateway.kill()
    body = series(gateway.now, "roll/a", field="/t", points=2, **{"from": str(witness.messages[0]["ts"] - 10000)})
    check_with_gaps(body, witness.messages, "/t")
    check_with_gaps(whole(gateway, witness), witness.messages, "/t")


def test_a_change_whose_transaction_fails_is_made_once_there_is_room(gateway, witness):
    """It fails at its end, with all lengths changed, and is tried again from its beginning; what comes meanwhile counts once."""
    wait_until(lambda: gateway.now.metric("sluice_storage_waiting_bytes") == 0)

    def room(size):
        resource.prlimit(gateway.now.child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    room(gateway.path.with_name("history.db-wal").stat().st_size)
    change(gateway, "reload", fields="[/t, /u]", every="[2s, 8s]", keep="[1d, 5d]")
    witness.publish(range(200, 250))
    wait_until(lambda: gateway.now.metric("sluice_storage_errors_total") > 1, what="a failure, and a second one")
    room(resource.RLIM_INFINITY)
    witness.publish(range(250, 300))
    witness.has_all()
    for _ in range(2):
        body = whole(gateway, witness)
        assert body["step"] % 2000 == 0 and sum(body["count"]) == 300
        check_with_gaps(body, witness.messages, "/t")
        gateway.restart()
    gateway.now.stop()
    assert rows(gateway, "SELECT every, state FROM step JOIN series ON id=step.series WHERE field='/t' ORDER BY every") == [(2000, 0), (8000, 0)]


def test_what_nobody_names_leaves_the_disk(gateway, witness):
    witness.client.client.publish("roll/b", '{"t": 1}')
    wait_until(lambda: history(gateway.now, "roll/b"))
    change(gateway, "reload", fields="/u", every="[2s]", keep="[1d]")
    wait_until(lambda: gateway.now.metric("sluice_storage_series") == 0)
    witness.publish([1])
    wait_until(lambda: gateway.now.metric("sluice_storage_series") == 1)
    gateway.restart()
    gateway.now.stop()
    assert rows(gateway, "SELECT field FROM series") == [("/u",)]
    assert {every for _, every in rows(gateway, "SELECT series, every FROM rollup")} == {2000}
    assert rows(gateway, "SELECT count(*) FROM step") == [(1,)]


def test_a_route_without_rollup_has_no_windows_any_more(gateway, witness):
    gateway.text = gateway.text.replace(", rollup: { fields: /t, every: [1s, 4s], keep: [1h, 1d] }", "")
    gateway.restart()
    wait_until(lambda: gateway.now.metric("sluice_storage_series") == 0)
    gateway.now.stop()
    gateway.restart()  # goes on with what was left to be done
    wait_until(lambda: gateway.now.metric("sluice_storage_series") == 0)
    gateway.now.stop()
    assert rows(gateway, "SELECT count(*) FROM series UNION ALL SELECT count(*) FROM rollup UNION ALL SELECT count(*) FROM step") == [(0,)] * 3
