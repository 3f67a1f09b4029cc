#!/usr/bin/env python3
"""Builds the gateway for another architecture and runs it under qemu-user: tests/cross/cross.py arm64|armhf [--all]

The libraries are Debian's of that architecture, fetched from where apt fetches here and unpacked below build/cross, so that
this machine's own packages stay as they are. Compiles all of gateway/ with warnings as errors, then runs unit tests whose outcome
could depend on the architecture (char is unsigned on Arm, pointers have four bytes on armhf), and integration tests with
the emulated gateway and a real broker. --all runs every unit test. Needs gcc for that architecture and qemu-user-static.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Debian's name: (what its tools' names begin with, the emulator, what file(1) says of a binary)
ARCHITECTURES = {"arm64": ("aarch64-linux-gnu", "qemu-aarch64-static", "ARM aarch64"),
                 "armhf": ("arm-linux-gnueabihf", "qemu-arm-static", "ARM, EABI5")}
PYTHON = "/usr/bin/python3"  # Debian's, which has the packages that the tests need
UNITS = ["codec", "http", "message", "mqttd_packet", "packet", "text", "topic", "wheel"]
INTEGRATION = ["test_pub_sub.py::test_pub_and_sub[v4]", "test_pub_sub.py::test_pub_to_other_listeners[tls]"]


def run(*args, **kwargs):
    print("+", *args, flush=True)
    return subprocess.run([str(arg) for arg in args], check=True, stdin=subprocess.DEVNULL, **kwargs)


def packages():
    """The libraries that ./dev needs for a build, and cmocka."""
    text = (ROOT / "dev").read_text()
    names = re.search(r"PACKAGES_BUILD=\((.*?)\)", text, re.S).group(1).split()
    return sorted(name for name in names if name.endswith("-dev")) + ["libcmocka-dev"]


def make_sysroot(arch, folder):
    """Fetches them and what they need, with a state of apt's own, and unpacks them."""
    stamp, wanted = folder / "packages", " ".join(packages())
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    state, cache = folder / "apt/state", folder / "apt/cache"
    (state / "lists/partial").mkdir(parents=True)
    (cache / "archives/partial").mkdir(parents=True)
    (folder / "apt/status").write_text("")
    apt = ["apt-get", "-qq", "-y", "--no-install-recommends", "-o", f"Dir::State={state}", "-o", f"Dir::State::status={folder}/apt/status",
           "-o", f"Dir::Cache={cache}", "-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures={arch}", "-o", "APT::Sandbox::User=root"]
    # A mirror in the middle of a sync may lack one list, of security updates say; the others are enough for a test.
    subprocess.run([*apt, "update"], check=False, stdin=subprocess.DEVNULL)
    run(*apt, "install", "--download-only", *packages(), stdout=subprocess.DEVNULL)
    for name in ("lib", "bin", "sbin"):  # as Debian has it: one folder under two names
        (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(f"usr/{name}")
    for package in sorted((cache / "archives").glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as tar:
            subprocess.run(["tar", "--keep-directory-symlink", "--no-same-owner", "-C", folder, "-x", "--exclude=./usr/share/doc"],
                           stdin=tar.stdout, check=True)
        assert tar.returncode == 0, package
    shutil.rmtree(folder / "apt")
    stamp.write_text(wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arch", choices=sorted(ARCHITECTURES))
    parser.add_argument("--all", action="store_true", help="every unit test")
    parser.add_argument("--jobs", default="1")
    options = parser.parse_args()
    triplet, emulator, said = ARCHITECTURES[options.arch]
    for tool in (f"{triplet}-gcc", emulator):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install gcc-{triplet} libc6-dev-{options.arch}-cross qemu-user-static")
    work = ROOT / "build/cross" / options.arch
    sysroot, build = work / "sysroot", work / "build"
    begin = time.monotonic()
    make_sysroot(options.arch, sysroot)
    print(f"libraries: {time.monotonic() - begin:.0f} s", flush=True)
    run("cmake", "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/packaging/cross/debian.cmake", f"-DSLUICE_ARCH={options.arch}",
        f"-DCMAKE_SYSROOT={sysroot}", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O0", "-DSLUICE_WERROR=ON", stdout=subprocess.DEVNULL)
    names = sorted(path.name.removesuffix("_test.c") for path in (ROOT / "tests/unit").glob("*_test.c")) if options.all else UNITS
    run("cmake", "--build", build, f"-j{options.jobs}", "--target", "sluice", *(f"{name}_test" for name in names))
    print(f"built: {time.monotonic() - begin:.0f} s", flush=True)
    binary = build / "sluice"
    assert said in run("file", binary, stdout=subprocess.PIPE, text=True).stdout
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "-R", f"^({'|'.join(names)})$")
    emulated = work / "sluice"
    emulated.write_text(f'#!/bin/sh\nexec {emulator} -L "{sysroot}" "{binary}" "$@"\n')
    emulated.chmod(0o755)
    run(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(ROOT / "tests/integration" / name for name in INTEGRATION),
        env={**os.environ, "SLUICE_BINARY": str(emulated)})
    print(f"{options.arch}: built and run, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
