"""The container engines and what they run, for containers.py: podman, or dockerd and docker-compose, as Debian has them."""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import harness  # noqa: E402

CACHE = ROOT / "build/containers"
PROJECT = "sluicetest"


class Failed(Exception):
    pass


def run(*args, check=True, timeout=600, **kwargs):
    result = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                            **kwargs)
    if check and result.returncode:
        raise Failed(f"{' '.join(map(str, args))}: exit status {result.returncode}\n{(result.stdout + result.stderr)[-6000:]}")
    return result


def wait_until(condition, timeout, what):
    """Looks at another process each time, so not too often."""
    try:
        return harness.wait_until(condition, timeout, what, interval=0.2)
    except AssertionError as error:
        raise Failed(str(error)) from None


def may_raise_limits():
    """CAP_SYS_RESOURCE, number 24."""
    found = re.search(r"^CapEff:\s*(\w+)", pathlib.Path("/proc/self/status").read_text(), re.M)
    return bool(int(found.group(1), 16) >> 24 & 1)


class Engine:
    def __init__(self, name):
        self.name = name
        # Debian's: another client may come first on PATH, of a version that the daemon does not go with.
        self.command = next(filter(os.path.exists, [f"/usr/bin/{name}"]), name)
        self.daemon = None

    def __call__(self, *args, **kwargs):
        return run(self.command, *args, **kwargs)

    def start(self, *flags):
        """podman needs no daemon."""
        if self.name == "podman":
            return
        os.environ["DOCKER_HOST"] = "unix:///run/docker.sock"
        log = open(CACHE / "dockerd.log", "wb")
        self.daemon = subprocess.Popen(["dockerd", "--data-root", str(CACHE / "docker"), "--exec-root", "/run/docker", "-H",
                                        os.environ["DOCKER_HOST"], "--oom-score-adjust", "0", *flags], stdout=log, stderr=log)
        wait_until(lambda: self("version", check=False).returncode == 0, 60, "dockerd to answer")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(30)

    def has(self, image):
        return self("image", "inspect", image, check=False).returncode == 0

    def build(self, tag, file, context, *more):
        flags = ["--network=host"]
        if self.name == "podman":
            flags += ["--isolation=chroot", "--format", "docker", "--pull=never"]
        return self("build", *flags, *more, "-t", tag, "-f", file, context, timeout=1200)

    def size(self, image):
        return int(self("image", "inspect", "--format", "{{.Size}}", image).stdout)


class Stack:
    """A compose.yaml in a folder whose files the test may edit."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.folder = folder
        text = (self.folder / "compose.yaml").read_text()
        if engine.name == "docker":  # version 1, Debian's, does not know it
            text = re.sub(r"^name:.*\n", "", text, flags=re.M)
        elif not may_raise_limits():  # podman sets the limit of processes beside the one that is asked for
            text = re.sub(r"^ +ulimits:\n +nofile:.*\n", "", text, flags=re.M)
        (self.folder / "compose.yaml").write_text(text)
        self.tool = ["/usr/bin/docker-compose" if engine.name == "docker" else "podman-compose", "-p", PROJECT, "-f", self.folder / "compose.yaml"]
        self.clean()

    def clean(self):
        left = self.engine("ps", "-aq", check=False).stdout.split()
        if left:
            self.engine("rm", "-f", *left, check=False)
        self.engine("volume", "prune", "-f", check=False)

    def compose(self, *args, **kwargs):
        result = run(*self.tool, *args, cwd=self.folder, **kwargs)
        # podman-compose exits with 0 even where `podman run` failed.
        if re.search(r"^exit code: [1-9]", result.stdout + result.stderr, re.M) and kwargs.get("check", True):
            raise Failed(f"compose {' '.join(args)}:\n{(result.stdout + result.stderr)[-4000:]}")
        return result

    def container(self, service):
        for name in self.engine("ps", "-a", "--format", "{{.Names}}").stdout.split():
            if re.search(rf"[-_]{service}[-_]1$", name):
                return name
        raise Failed(f"no container of {service}")

    def inspect(self, service, template):
        return self.engine("inspect", "--format", template, self.container(service)).stdout.strip()

    def exec(self, service, *args, **kwargs):
        return self.engine("exec", self.container(service), *args, **kwargs)

    def healthy(self, service):
        if self.engine.name == "podman":  # without systemd nothing starts podman's health checks
            return self.engine("healthcheck", "run", self.container(service), check=False).returncode == 0
        return self.inspect(service, "{{.State.Health.Status}}") == "healthy"

    def logs(self, service):
        result = self.engine("logs", self.container(service), check=False)
        return result.stdout + result.stderr


def settle_bridge(stack, services):
    """Debian 12's netavark lets the bridge take the lowest hardware address of its ports, so each new container may
    change it. The earlier ones would send what they ask the name server to the old address for up to 45 s."""
    for service in services:
        pid = stack.inspect(service, "{{.State.Pid}}")
        if pid != "0":  # setup has ended
            run("nsenter", "-t", pid, "-n", "ip", "neighbour", "flush", "all")
