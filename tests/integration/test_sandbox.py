"""What the process has given up once it serves (issue: Locked doors, 7)."""
import os
import pathlib
import pwd
import re
import subprocess

from conftest import yaml
from harness import BINARY, SANITIZED, Process, wait_until


def status_of_threads(gateway):
    for path in pathlib.Path(f"/proc/{gateway.child.pid}/task").iterdir():
        yield dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line)


def test_every_thread_is_confined(world):
    keys = world.directory / "jwks.json"
    keys.write_text('{"keys":[{"kty":"oct","k":"%s","alg":"HS256"}]}' % ("A" * 43))
    gateway = world.sluice(yaml(world.broker().port, extra=f"workers: 2\nauth: {{ jwt: {{ jwks_file: {keys}, jwks_refresh: 1s }}, anonymous: any }}\n"
                                "roles: { any: { subscribe: '#', publish: '#' } }\n"))
    threads = list(status_of_threads(gateway))
    assert len(threads) >= 5
    for status in threads:
        assert status["NoNewPrivs"] == "1"
        for kind in ("CapEff", "CapPrm", "CapAmb"):
            assert int(status[kind], 16) == 0
        if os.geteuid() == 0:
            assert int(status["CapBnd"], 16) == 0
        if not SANITIZED:
            assert status["Seccomp"] == "2"
    # It still does everything: publish, reload, reconnect, stop (at the end of the test).
    assert gateway.post("/channels/lamps/1", b"1").status_code == 200
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())


def test_sandbox_can_be_switched_off(world):
    gateway = world.sluice(yaml(world.broker().port, extra="sandbox: false\n"))
    assert all(status["Seccomp"] == "0" and status["NoNewPrivs"] == "0" for status in status_of_threads(gateway))


def test_becomes_another_user(world):
    text = yaml(world.broker().port, extra="user: nobody\n")
    if os.geteuid() != 0:
        config = world.directory / "user.yaml"
        config.write_text(text)
        result = subprocess.run([BINARY, "-c", str(config)], capture_output=True, text=True, timeout=30)
        assert result.returncode == 1 and "not started as root" in result.stderr
        return
    os.chmod(world.directory, 0o755)
    gateway = world.sluice(text)
    for status in status_of_threads(gateway):
        assert set(status["Uid"].split()) == {str(pwd.getpwnam("nobody").pw_uid)}
        assert "0" not in status["Groups"].split()
    assert "running as root" not in gateway.text()


def test_unknown_user(world):
    config = world.directory / "user.yaml"
    config.write_text(yaml(world.broker().port, extra="user: no-such-user\n"))
    result = subprocess.run([BINARY, "-c", str(config)], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert "no user 'no-such-user'" in result.stderr or "not started as root" in result.stderr


def test_binary_is_hardened():
    if SANITIZED:
        return
    headers = subprocess.run(["readelf", "-Wldh", BINARY], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["readelf", "-Ws", BINARY], capture_output=True, text=True, check=True).stdout
    assert "DYN (Position-Independent Executable file)" in headers and "GNU_RELRO" in headers and "BIND_NOW" in headers
    assert re.search(r"GNU_STACK\s.*\sRW\s", headers)
    assert "__stack_chk_fail" in symbols and re.search(r"__\w+_chk@", symbols)
