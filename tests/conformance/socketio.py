#!/usr/bin/python3
"""Runs the test suites of the protocols of Socket.IO against the gateway: `socketio.py CHECKOUT`, where CHECKOUT is one
of github.com/socketio/socket.io. SLUICE_BINARY names the program; mosquitto, node and npm must be installed.

Some tests expect an application that sends back what it gets. The gateway is none; sluice-echo has the same objects and such
an application (echo.c), and with `--echo` every test must pass.

The suites stay outside: they are copied to a temporary directory, and only the address in them is changed. Prints a line
for each test. Exit status: 0, every test that can pass has passed; 1, one of them has not."""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

SUITES = {"engine.io": "docs/engine.io-protocol/v4-test-suite", "socket.io": "docs/socket.io-protocol/v5-test-suite"}
CONFIG = """
broker: {{ url: mqtt://127.0.0.1:{broker} }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: {workers}
routes: [{{ topic: "lamps/{{id}}" }}]
limits: {{ frame: 1000000B }}
socketio:
  path: /{path}/
  ping_interval: 300ms
  ping_timeout: 200ms
  connect_timeout: 1s
  recovery: 0s
  namespaces: [/custom]
"""
ECHO = {
    "engine.io": [r"sends and receives", r"upgrade successfully upgrades", r"upgrade ignores"],
    "socket.io": [r"connect should allow connection", r"connect then disconnect from a custom", r"message should send"],
}


def install(checkout, name, directory):
    suite = directory / name
    shutil.copytree(checkout / SUITES[name], suite)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=suite, check=True)
    return suite


def run(suite, port):
    file = suite / "test-suite.js"
    file.write_text(re.sub(r"http://(localhost|127\.0\.0\.1):\d+", f"http://127.0.0.1:{port}", file.read_text()))
    done = subprocess.run(["npx", "mocha", "--reporter", "json", "--exit", file.name], cwd=suite, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["tests"]
    except ValueError:
        sys.exit(f"mocha wrote no report:\n{done.stdout}{done.stderr}")


def report(name, tests, echoes):
    """Prints the tests and returns how many have failed that should have passed."""
    bad = 0
    for test in tests:
        error, echo = test["err"].get("message"), not echoes and any(re.search(pattern, test["fullTitle"]) for pattern in ECHO[name])
        word = "passed" if not test["err"] else "needs an echo" if echo else "FAILED"
        bad += word == "FAILED"
        print(f"{word}: {test['fullTitle']}" + (f": {error}" if word == "FAILED" else ""))
    count = sum(not test["err"] for test in tests)
    print(f"{name}: {count} of {len(tests)} passed, {bad} failed, {len(tests) - count - bad} need an echo")
    return bad if tests else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--echo", action="store_true", help="SLUICE_BINARY is sluice-echo")
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        broker = harness.Broker(directory)
        try:
            for name in SUITES:
                config = CONFIG.format(broker=broker.port, workers=arguments.workers, path=name)
                sluice = harness.Sluice(directory, config, name=name)
                try:
                    bad += report(name, run(install(arguments.checkout, name, directory / "suites"), sluice.port), arguments.echo)
                finally:
                    sluice.end()
        finally:
            broker.end()
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
