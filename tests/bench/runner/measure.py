"""One measurement: starts a broker and a server, runs the load generator, ends them. A run that lost, doubled or disordered a
message is no figure but a failure, and is reported as one."""
import json
import os
import pathlib
import subprocess
import tempfile

import peers

TIMEOUT = 90


def calm():
    """The clients of a real server are other machines: they don't compete with it for its cores."""
    try:
        os.nice(-10)
    except PermissionError:
        pass


def once(peer, scenario):
    """A dictionary of figures, or one with the single key "failed"."""
    if scenario.program:
        return by_program(peer, scenario)
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory, peer.running(directory) as options:
            options = {**options, **scenario.options}
            done = subprocess.run([peers.BUILD / "tests/bench/loadgen", *(f"{k}={v}" for k, v in options.items())],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, preexec_fn=calm)
    except (RuntimeError, subprocess.TimeoutExpired) as problem:
        return {"failed": str(problem)[-300:]}
    if done.returncode:
        return {"failed": done.stderr.strip()[-300:] or f"exit status {done.returncode}"}
    result = json.loads(done.stdout)
    wrong = [f"{result[key]} {key}" for key in ("lost", "doubled", "disordered") if result[key]]
    return {"failed": ", ".join(wrong)} if wrong else result


def by_program(peer, scenario):
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
            return scenario.program(peer.name, pathlib.Path(directory), **scenario.options)
    except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
        return {"failed": str(problem)[-300:]}
