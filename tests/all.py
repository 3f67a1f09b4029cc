#!/usr/bin/env python3
"""Runs every test: what `./dev test` calls once everything is installed.

Builds the release first. Then integration tests, which mostly wait, run side by side, and beside them one at a time what keeps a
processor busy: the other builds, the unit tests, the fuzzers, the containers. The jobs that need the machine for themselves come last.
A job that fails is run once more, alone, at the end: a test that fails twice has failed, and one that passed only the second
time is named. A skipped test counts as failed. Logs are in build/test/.
"""
import argparse
import concurrent.futures
import gzip
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / "build/test"
CLIENT_MAX_BYTES = 8 * 1024
SKIPPED = 77  # the machine itself does not allow it; a package that is missing is no such reason
PRESETS = ["release", "asan", "tsan", "fuzz"]


class Job:
    """One command. `report`: the JUnit file it writes; without one its exit status counts as one test."""

    def __init__(self, name, command, report=None, env=None, timeout=900, cwd=ROOT, preset=None):
        self.name, self.command, self.report, self.env, self.timeout, self.cwd = name, command, report, env, timeout, cwd
        self.preset = preset  # whose build it needs
        self.log = LOGS / (re.sub(r"[^\w.-]+", "-", name) + ".log")
        self.seconds = 0.0

    def run(self):
        """Returns the names of the tests that passed and of those that did not."""
        begin = time.monotonic()
        if self.report:
            self.report.unlink(missing_ok=True)
        with open(self.log, "wb") as out:
            child = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, cwd=self.cwd, env=dict(os.environ, **(self.env or {})),
                                     start_new_session=True)
            try:
                status = child.wait(self.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
                out.write(f"\ntests/all.py: ended after {self.timeout} s\n".encode())
                status = 1
        self.seconds = time.monotonic() - begin
        if status == SKIPPED and not self.report:
            print(f"{self.name}: skipped, since this machine cannot: {tail(self.log, 1)}")
            return [], []
        if not self.report:
            return ([self.name], []) if status == 0 else ([], [self.name])
        good, bad = read_report(self.report)
        if status != 0 and not bad:
            bad.append(f"{self.name} (exit status {status})")
        if not good and not bad:
            bad.append(f"{self.name} (no test was run)")
        return good, bad


def read_report(path):
    """Names of the tests in a JUnit file, by outcome."""
    good, bad = [], []
    if not path.exists():
        return good, bad
    try:
        cases = ElementTree.parse(path)
    except ElementTree.ParseError:  # whoever wrote it was ended
        return good, bad
    for case in cases.iter("testcase"):
        name = " ".join(filter(None, [case.get("classname"), case.get("name")]))
        failed = any(child.tag in ("failure", "error", "skipped") for child in case) or case.get("status") in ("fail", "notrun")
        (bad if failed else good).append(name)
    return good, bad


def pytest_jobs(label, build, *marks):
    """Those of the files with one of `marks`, or all."""
    folder = ROOT / "tests/integration"
    more = ["-m", " or ".join(marks)] if marks else []
    for path in sorted(folder.glob("test_*.py"), key=lambda path: -path.stat().st_size):
        if marks and not re.search(rf"mark\.({'|'.join(marks)})\b", path.read_text()):
            continue
        report = LOGS / f"{label}-{path.stem}.xml"
        yield Job(f"{path.stem} ({label})",
                  [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", path, *more],
                  report, {"SLUICE_BINARY": str(ROOT / build / "sluice")}, preset=label)


def node_jobs(label, build, paths):
    for path in paths:
        report = LOGS / f"{label}-{path.name}.xml"
        yield Job(f"{path.name} ({label})",
                  ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}", "--test-reporter=tap",
                   "--test-reporter-destination=stdout", path], report, {"SLUICE_BINARY": str(ROOT / build / "sluice")}, preset=label)


def ctest_job(preset):
    report = LOGS / f"ctest-{preset}.xml"
    return Job(f"unit tests ({preset})", ["ctest", "--preset", preset, "--output-junit", report], report, preset=preset)


def fuzz_jobs(seconds):
    for source in sorted((ROOT / "tests/fuzz").glob("fuzz_*.c")):
        name = source.stem
        corpus = ROOT / "build/fuzz/corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        # Seeds are the project's; what libFuzzer finds goes into build/.
        yield Job(name, [ROOT / "build/fuzz/tests/fuzz" / name, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                         "-print_final_stats=0", "-verbosity=0", f"-artifact_prefix={ROOT}/build/fuzz/{name}-", corpus,
                         ROOT / "tests/fuzz/corpus" / name.removeprefix("fuzz_")], preset="fuzz")


def check_client():
    """What is committed in client/dist must be what the sources make, and the client must stay small."""
    out = ROOT / "build/client"
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(["node", "node_modules/typescript/bin/tsc", "-p", "."], cwd=ROOT / "client", check=True)
    subprocess.run(["node", "build.mjs", out], cwd=ROOT / "client", check=True)
    if subprocess.run(["diff", "-r", ROOT / "client/dist", out]).returncode:
        sys.exit("client/dist is not what client/src makes: (cd client && node build.mjs)")
    size = len(gzip.compress((ROOT / "client/dist/sluice-client.js").read_bytes(), 9))
    print(f"sluice-client: {size} bytes, gzipped")
    if size >= CLIENT_MAX_BYTES:
        sys.exit(f"that is not below {CLIENT_MAX_BYTES}")


def check_format():
    """Every C file is as clang-format leaves it."""
    files = [path for folder in ("gateway", "include", "tests") for path in sorted((ROOT / folder).rglob("*.[ch]"))]
    subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=ROOT, check=True)


def check_tidy():
    """clang-tidy with the checks of .clang-tidy on the gateway's sources."""
    files = sorted(str(path) for path in (ROOT / "gateway").rglob("*.c"))
    subprocess.run(["clang-tidy", "--quiet", "-p", "build/asan", *files], cwd=ROOT, check=True)


def check_bench():
    """The bench still measures, and the gateway loses, doubles and disorders nothing while it is saturated."""
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "bench"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-B", "tests/bench/runner/bench.py", "--rounds", "1", "--scenarios",
                    "spaced,one-in-flight,channels-1000x1", "--peers", "floor,joined,sluice-ws,sluice-raw,sluice-sse,sluice-poll"],
                   cwd=ROOT, check=True)


def check_guard():
    """Instructions for each delivery against the stored budget."""
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "guard_driver", "slices"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "tests/bench/guard/guard.py", "build/release/tests/bench/guard_driver"], cwd=ROOT, check=True)


def check_echo():
    """The application of the protocols' suites still builds and answers."""
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "sluice-echo"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/test_echo.py"], cwd=ROOT, check=True,
                   env={**os.environ, "SLUICE_BINARY": str(ROOT / "build/release/tests/conformance/sluice-echo")})


CHECKS = {"client": check_client, "format": check_format, "tidy": check_tidy, "bench": check_bench, "guard": check_guard,
          "echo": check_echo}


def build_job(preset, niceness):
    return Job(f"build {preset}", ["nice", "-n", niceness, "sh", "-c", f"cmake --preset {preset} && cmake --build --preset {preset}"],
               timeout=1800)


def tail(path, lines):
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])


def jobs(fuzz_seconds, soak_minutes):
    """Those that mostly wait, those that keep a processor busy, and those that want the machine for themselves."""
    python = sys.executable
    browser = ROOT / "tests/browser"
    waiting = [
        # The longest. Both engines in turn: they share what debootstrap makes.
        Job("containers", ["sh", "-c", f"{python} -B tests/docker/containers.py podman && {python} -B tests/docker/containers.py docker"],
            timeout=2400),
        *node_jobs("release", "build/release", sorted(browser.glob("*.test.mjs"))),
        *pytest_jobs("release", "build/release"),
        *pytest_jobs("asan", "build/asan", "sanitize", "memory"),
        *node_jobs("asan", "build/asan", [browser / "client.test.mjs", browser / "auth.test.mjs"]),
        *pytest_jobs("tsan", "build/tsan", "sanitize"),
    ]
    busy = [
        ctest_job("asan"),
        ctest_job("tsan"),
        *fuzz_jobs(fuzz_seconds),
        Job("arm64 under qemu", [python, "-B", "tests/cross/cross.py", "arm64"], timeout=1800),
        Job("functions without callers", [python, "tests/check_callers.py"]),
        Job("include directions", [python, "tests/check_includes.py"]),
        Job("symbol directions", [python, "tests/check_symbols.py"]),
        Job("generated documents", [python, "tests/generated.py"]),
        *(Job(f"check {name}", [python, __file__, "--check", name]) for name in ("client", "format", "guard", "echo")),
        Job("check tidy", [python, __file__, "--check", "tidy"], preset="asan"),
    ]
    alone = [
        Job("check bench", [python, __file__, "--check", "bench"]),
        Job("soak", [python, "tests/soak/soak.py", str(soak_minutes), "--quiet", "--binary", ROOT / "build/release/sluice"],
            timeout=60 * soak_minutes + 600),
    ]
    return waiting, busy, alone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", choices=sorted(CHECKS), help="run only this check")
    parser.add_argument("--only", metavar="REGEX", help="run only the jobs whose names match")
    parser.add_argument("--jobs", type=int, default=4, help="jobs that run side by side and mostly wait (4)")
    parser.add_argument("--no-build", action="store_true", help="take the builds that are there")
    args = parser.parse_args()
    if args.check:
        return CHECKS[args.check]()
    LOGS.mkdir(parents=True, exist_ok=True)
    passed, failed, again = 0, [], []
    built = {preset: threading.Event() for preset in PRESETS}

    def build(preset, niceness=10):
        try:
            job = build_job(preset, str(niceness))
            if job.run()[1]:
                failed.append(job.name)
                print(tail(job.log, 40), flush=True)
            print(f"{job.name}: {job.seconds:.0f} s", flush=True)
        finally:
            built[preset].set()

    def run(job):
        if job.preset:
            built[job.preset].wait()
        return job.run()

    waiting, busy, alone = jobs(int(os.environ.get("SLUICE_FUZZ_SECONDS", "5")), float(os.environ.get("SLUICE_SOAK_MINUTES", "2")))
    if args.only:
        waiting, busy, alone = ([job for job in group if re.search(args.only, job.name)] for group in (waiting, busy, alone))
    presets = [preset for preset in PRESETS if any(job.preset == preset for job in waiting + busy) or preset == "release"]
    if args.no_build:
        presets = []
        for event in built.values():
            event.set()

    def note(job, result):
        nonlocal passed
        good, bad = result
        passed += len(good)
        print(f"{job.name}: {len(good)} passed, {len(bad)} failed, {job.seconds:.0f} s", flush=True)
        if bad:
            again.append((job, bad))

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool, concurrent.futures.ThreadPoolExecutor(1) as processor:
        for preset in presets[:1]:
            build(preset, 0)
        builds = [processor.submit(build, preset) for preset in presets[1:]]
        running = {pool.submit(run, job): job for job in waiting} | {processor.submit(run, job): job for job in busy}
        for done in concurrent.futures.as_completed(running):
            note(running[done], done.result())
        for done in builds:
            done.result()
    for job in alone:
        note(job, job.run())
    for job, before in again:
        shutil.copy(job.log, job.log.with_suffix(".first.log"))
        _, bad = job.run()
        # Tests of the job that passed the first time are counted already.
        recovered = [name for name in before if name not in bad]
        passed += len(recovered)
        for name in recovered:
            print(f"passed only the second time: {name} ({job.log.with_suffix('.first.log').relative_to(ROOT)})")
        for name in bad:
            failed.append(name)
        if bad:
            print(f"--- {job.name}\n{tail(job.log, 120)}")
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
