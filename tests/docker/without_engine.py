#!/usr/bin/env python3
"""Carries out docker/Dockerfile without Docker: each stage is a Debian tree, RUN is chroot, COPY is a copy.

    sudo tests/docker/without_engine.py [--work FOLDER] [--dockerfile docker/Dockerfile]

Needs root and debootstrap; takes some minutes, so it is no part of ./dev test. It understands the instructions that our
Dockerfiles use and refuses any other. At the end it says what the last stage adds to its base, in bytes of files that are
new or changed (what a layer holds), and fails if that is more than 15 MB or if the image does not do what it should.
The base is made as debian:bookworm-slim is: debootstrap's minbase without manuals, documents and translations.
"""
import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from harness import wait_until  # noqa: E402

BUDGET = 15_000_000
SLIM = ("usr/share/doc/*", "usr/share/info/*", "usr/share/linda/*", "usr/share/lintian/overrides/*", "usr/share/locale/*",
        "usr/share/man/*", "usr/share/groff/*")


def sh(*args, **kwargs):
    return subprocess.run([str(arg) for arg in args], check=True, **kwargs)


def make_base(folder, suite):
    """debian:SUITE-slim, as near as debootstrap gets."""
    sh("debootstrap", "--variant=minbase", suite, folder, stdout=subprocess.DEVNULL)
    lines = "".join(f"path-exclude /{pattern}\n" for pattern in SLIM) + "path-include /usr/share/doc/*/copyright\n"
    (folder / "etc/dpkg/dpkg.cfg.d/docker").write_text(lines)
    for where in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"):
        for path in sorted((folder / where).rglob("*"), reverse=True):
            if path.name != "copyright" and (path.is_file() or path.is_symlink()):
                path.unlink()
    for path in (folder / "var/lib/apt/lists").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (folder / "var/cache/apt/archives").glob("*.deb"):
        path.unlink()


def instructions(text):
    """(instruction, rest) for each; continuation lines joined, comments gone."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            yield word.upper(), rest.strip()


def contents(folder):
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        info = path.stat()
        found[path.relative_to(folder)] = (info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return found


class Stage:
    def __init__(self, folder, base):
        self.folder, self.workdir, self.user, self.args = folder, "/", "0:0", {}
        self.config = {}
        sh("cp", "-a", base, folder)
        self.before = contents(folder)

    def run(self, command):
        user = self.user if ":" in self.user else f"{self.user}:{self.user}"
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        args = command if isinstance(command, list) else ["/bin/sh", "-c", f"cd {shlex.quote(self.workdir)} && {command}"]
        sh("chroot", f"--userspec={user}", self.folder, *args, env=env)

    def path(self, inside):
        return self.folder / os.path.normpath(os.path.join(self.workdir, inside)).lstrip("/")

    def copy(self, sources, to):
        target = self.path(to)
        many = to.endswith("/") or len(sources) > 1
        for source in sources:
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                sh("cp", "-a", "--no-target-directory", source, target)
            else:
                (target if many else target.parent).mkdir(parents=True, exist_ok=True)
                sh("cp", "-a", source, target / source.name if many else target)


def ignored_by_docker():
    """What .dockerignore lets through: it begins with * and then names what is wanted."""
    lines = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*" and all(line.startswith("!") for line in lines[1:]), ".dockerignore: * and then !paths expected"
    return [line[1:] for line in lines[1:]]


def context(folder):
    for wanted in ignored_by_docker():
        source, target = ROOT / wanted, folder / wanted
        assert source.exists(), f".dockerignore names {wanted}, which is not there"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


def build(work, dockerfile, base):
    context(work / "context")
    stages, stage, args = {}, None, {}
    for word, rest in instructions(dockerfile.read_text()):
        print(f"{word} {rest[:100]}", flush=True)
        if word == "FROM":
            image, *name = rest.split(" AS ")
            assert image.strip() == "debian:bookworm-slim", image
            stage = Stage(work / f"stage{len(stages)}", base)
            stages[name[0].strip() if name else len(stages)] = stage
        elif word == "ARG":
            key, _, value = rest.partition("=")
            args[key] = value
        elif word == "RUN":
            stage.run(json.loads(rest) if rest.startswith("[") else rest)
        elif word == "WORKDIR":
            stage.workdir = rest
            stage.path(rest).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            words = shlex.split(rest)
            origin = work / "context"
            if words[0].startswith("--from="):
                origin = stages[words.pop(0)[len("--from="):]].folder
            *sources, to = words
            stage.copy([origin / source.strip("/") for source in sources], to)
        elif word == "USER":
            stage.user = rest
        elif word in ("LABEL", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"):
            stage.config[word] = rest
        else:
            sys.exit(f"without_engine.py does not know {word}")
    return stage


def measure(stage):
    """What the last stage's layers hold: files that are new or changed."""
    after = contents(stage.folder)
    added = {path: info[0] for path, info in after.items() if stage.before.get(path, (None,))[0] != info[0] or
             stage.before[path][1] != info[1]}
    total = sum(added.values())
    for path, size in sorted(added.items(), key=lambda item: -item[1])[:20]:
        print(f"{size:10}  /{path}")
    print(f"{len(added)} files, {total / 1e6:.2f} MB beyond the base (15 MB allowed)")
    return total


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def try_out(stage, work):
    """The image's own entry point as process 1 of a PID namespace, as its user, with a file system that it can't write to."""
    port = free_port()
    (stage.folder / "etc/sluice/sluice.yaml").write_text(
        f"broker:\n  url: mqtt://127.0.0.1:9\nlisten:\n  - address: 127.0.0.1:{port}\nroutes:\n  - topic: \"#\"\n")
    entry = json.loads(stage.config["ENTRYPOINT"]) + json.loads(stage.config["CMD"])
    probe = json.loads(stage.config["HEALTHCHECK"].split("CMD", 1)[1])
    mount = f"mount --bind {stage.folder} {stage.folder} && mount -o remount,bind,ro {stage.folder}"
    uid, gid = stage.user.split(":")
    inside = f"{mount} && exec chroot --userspec={uid}:{gid} {stage.folder} " + shlex.join(entry)
    log = open(work / "run.log", "wb")
    # unshare stays outside as the parent; process 1 of the new namespace is the shell, then (exec) chroot, then Sluice.
    parent = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside], stdout=log, stderr=log)
    try:
        healthy = ["chroot", f"--userspec={uid}:{gid}", stage.folder, *probe]
        wait_until(lambda: parent.poll() is not None or not subprocess.run(healthy, stderr=subprocess.DEVNULL).returncode, 20, "the health check")
        assert parent.poll() is None, (work / "run.log").read_text()
        child = int(pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()[0])
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        assert re.search(r"^NSpid:\t\d+\t1$", status, re.M), status
        assert re.search(rf"^Uid:\t{uid}\t", status, re.M), status
        assert pathlib.Path(f"/proc/{child}/exe").resolve().name == "sluice"
        os.kill(child, signal.SIGTERM)
        assert parent.wait(10) == 0, (work / "run.log").read_text()
        print("runs as process 1 and user 65532 on a read-only file system, answers the health check, ends by SIGTERM with 0")
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
        log.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/sluice-image"))
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--dockerfile", type=pathlib.Path, default=ROOT / "docker/Dockerfile")
    options = parser.parse_args()
    if os.getuid():
        sys.exit("root is needed, for chroot")
    base = options.work / "base"
    if not base.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        make_base(base, options.suite)
    for path in options.work.iterdir():
        if path.name != "base":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    stage = build(options.work, options.dockerfile, base)
    total = measure(stage)
    if "HEALTHCHECK" in stage.config:
        try_out(stage, options.work)
        assert total <= BUDGET, "too large"


if __name__ == "__main__":
    main()
