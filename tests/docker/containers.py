#!/usr/bin/env python3
"""Builds docker/ and brings compose.yaml up, for real: tests/docker/containers.py [podman|docker]

No registry is needed. debian:bookworm-slim is made by debootstrap from the mirror that apt uses here, eclipse-mosquitto:2 is
made of it and Debian's mosquitto. The engine runs in mount and process namespaces of its own, the composed containers also in a
network namespace, so that nothing is left behind and no address of this machine is taken. Everything is kept in
build/containers, so that a second run takes seconds.

Exit status 0: passed, 1: failed, 77: this machine does not allow it (no root, no namespaces), and says why.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

from engines import CACHE, ROOT, Engine, Failed, Stack, run, settle_bridge, wait_until

BASE = CACHE / "base.tar"
ADDED_MAX = 15_000_000
NOFILE = 16384
MOSQUITTO = """\
FROM docker.io/library/debian:bookworm-slim
RUN groupadd -r -g 1883 mosquitto && useradd -r -u 1883 -g mosquitto mosquitto \\
 && apt-get update && apt-get install -y --no-install-recommends mosquitto mosquitto-clients \\
 && rm -rf /var/lib/apt/lists/* && mkdir -p /mosquitto/config /mosquitto/data /mosquitto/log \\
 && chown -R mosquitto:mosquitto /mosquitto
VOLUME ["/mosquitto/data", "/mosquitto/log"]
CMD ["/usr/sbin/mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]
"""


# Of Debian's packages, under the names and with the places that the images in compose.yaml have.
VALKEY = """\
FROM docker.io/library/debian:bookworm-slim
RUN groupadd -r -g 999 valkey && useradd -r -u 999 -g valkey valkey \\
 && apt-get update && apt-get install -y --no-install-recommends redis-server redis-tools && rm -rf /var/lib/apt/lists/* \\
 && ln -s /usr/bin/redis-server /usr/bin/valkey-server && ln -s /usr/bin/redis-cli /usr/bin/valkey-cli \\
 && mkdir /data && chown valkey:valkey /data
VOLUME ["/data"]
WORKDIR /data
CMD ["valkey-server"]
"""
NGINX = """\
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light curl && rm -rf /var/lib/apt/lists/* \\
 && rm -rf /etc/nginx/sites-enabled/* /var/lib/nginx && mkdir -p /var/cache/nginx && ln -s /var/cache/nginx /var/lib/nginx \\
 && ln -sf /dev/stderr /var/log/nginx/error.log && ln -sf /dev/stdout /var/log/nginx/access.log
CMD ["nginx", "-g", "daemon off;"]
"""


def mirror():
    """What apt uses here: there may be no other way out."""
    for path in [pathlib.Path("/etc/apt/sources.list.d/debian.sources"), pathlib.Path("/etc/apt/sources.list")]:
        if path.exists():
            found = re.search(r"^(?:URIs:\s*|deb\s+(?:\[.*?\]\s*)?)(\S+)", path.read_text(), re.M)
            if found:
                return path, found.group(1)
    raise Failed("apt has no sources here")


def make_base():
    """debian:bookworm-slim, as near as debootstrap gets."""
    sources, url = mirror()
    tree = CACHE / "tree"
    # A debootstrap that was broken off leaves the machine's own /proc and /sys mounted in there.
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{tree}/"):
            run("umount", line.split()[1])
    shutil.rmtree(tree, ignore_errors=True)
    result = run("debootstrap", "--variant=minbase", "bookworm", tree, url, check=False, timeout=1200)
    if result.returncode:
        raise Failed("debootstrap: " + re.sub(r"https?://\S+", "URL", result.stdout[-800:]))
    (tree / "etc/dpkg/dpkg.cfg.d/docker-slim").write_text(
        "".join(f"path-exclude /usr/share/{folder}/*\n" for folder in ("doc", "groff", "info", "lintian", "locale", "man")) +
        "path-include /usr/share/doc/*/copyright\n")
    for folder in ("doc", "locale", "man", "info"):
        for path in (tree / "usr/share" / folder).rglob("*"):
            if path.name != "copyright" and (path.is_file() or path.is_symlink()):
                path.unlink()
    for path in (tree / "var/lib/apt/lists").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (tree / "var/cache/apt/archives").glob("*.deb"):
        path.unlink()
    (tree / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.copy(sources, tree / "etc/apt" / ("sources.list.d/debian.sources" if sources.suffix else "sources.list"))
    run("tar", "--numeric-owner", "-C", tree, "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "-cf", f"{BASE}.new", ".")
    shutil.rmtree(tree)
    os.rename(f"{BASE}.new", BASE)


def images(compose_text):
    """Names of the images that compose.yaml builds."""
    return list(dict.fromkeys(re.findall(r"image: (sluice\S*)", compose_text)))


def cluster_images():
    """Names of those that the profile `cluster` brings."""
    text = (ROOT / "docker/compose.yaml").read_text()
    return [re.search(rf"^  {service}:.*?image: (\S+)", text, re.S | re.M).group(1) for service in ("valkey", "balancer")]


def phase_build(engine):
    engine.start("--bridge=none", "--iptables=false", "--ip6tables=false")
    base = "docker.io/library/debian:bookworm-slim"
    if not engine.has(base):
        print("importing the base image", flush=True)
        engine("import", "-c", 'CMD ["bash"]', BASE, base)
    standins = {"eclipse-mosquitto:2": MOSQUITTO}
    if engine.name == "podman":
        standins |= {image: {"valkey/valkey": VALKEY, "nginx": NGINX}[image.split(":")[0]] for image in cluster_images()}
    for image, file in standins.items():
        standin = CACHE / image.split(":")[0].replace("/", "-")
        standin.mkdir(exist_ok=True)
        (standin / "Dockerfile").write_text(file)
        engine.build("docker.io/" + ("" if "/" in image else "library/") + image, standin / "Dockerfile", standin)
    begin = time.monotonic()
    gateway, simulator = images((ROOT / "docker/compose.yaml").read_text())
    engine.build(gateway, ROOT / "docker/Dockerfile", CACHE / "context")
    engine.build(simulator, ROOT / "docker/simulator/Dockerfile", CACHE / "context")
    added = engine.size(gateway) - engine.size(base)
    print(f"both images built in {time.monotonic() - begin:.0f} s; the gateway's adds {added} bytes to its base", flush=True)
    if added > ADDED_MAX:
        raise Failed(f"that is more than {ADDED_MAX}")


def get(path, port=8080):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except OSError:
        return None, ""


def publish(channel, body):
    request = urllib.request.Request(f"http://127.0.0.1:8080/channels/{channel}", data=body.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check_stack(stack):
    """What an operator does in the first hour."""
    begin = time.monotonic()
    wait_until(lambda: get("/readyz")[0] == 200, 90, "/readyz")
    print(f"ready after {time.monotonic() - begin:.1f} s", flush=True)
    for service in ("sluice", "mosquitto"):
        wait_until(lambda: stack.healthy(service), 60, f"{service} to be healthy")  # noqa: B023
    wait_until(lambda: len(json.loads(get("/channels")[1])["channels"]) >= 4, 30, "the simulated devices")
    if publish("devices/lamp_kitchen", '{"state":"ON"}') != 200:
        raise Failed("a publish was not acknowledged")
    for template, want in [("{{.Config.User}}", "65532:65532"), ("{{.HostConfig.ReadonlyRootfs}}", "true")]:
        if stack.inspect("sluice", template) != want:
            raise Failed(f"{template} is not {want}")
    status = stack.exec("sluice", "/bin/cat", "/proc/1/status").stdout
    for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        if line not in status:
            raise Failed(f"process 1 lacks {line!r}")
    if "New connection" in stack.logs("mosquitto"):
        raise Failed("the broker's log has a line for each health check")
    check_reload(stack)
    check_restart(stack)
    stack.compose("stop", "-t", "10", "sluice", check=False)
    if stack.inspect("sluice", "{{.State.ExitCode}}") != "0":
        raise Failed("stopping the gateway gives exit status " + stack.inspect("sluice", "{{.State.ExitCode}}"))


def check_reload(stack):
    """A new file in place of the old one, as editors write it, is seen; mistakes are told and change nothing."""
    file = stack.folder / "sluice/sluice.yaml"
    text = file.read_text()

    def replace(content):
        new = file.with_suffix(".new")
        new.write_text(content)
        new.chmod(0o644)
        os.rename(new, file)

    replace(text.replace("channel: devices/", "channel: things/"))
    said = stack.exec("sluice", "sluice", "reload")
    wait_until(lambda: publish("things/lamp_kitchen", '{"state":"OFF"}') == 200, 15, f"the new routes ({said.stdout.strip()})")
    replace(text.replace("routes:", "ruotes:"))
    refused = stack.exec("sluice", "sluice", "reload", check=False)
    if refused.returncode != 2 or "ruotes" not in refused.stderr:
        raise Failed(f"a file with a mistake: exit status {refused.returncode}, {refused.stderr}")
    replace(text)
    stack.exec("sluice", "sluice", "reload")
    wait_until(lambda: publish("devices/lamp_kitchen", '{"state":"ON"}') == 200, 15, "the old routes")
    print("reload: seen in a mounted folder, mistakes refused", flush=True)


def check_restart(stack):
    """A crash after a reload is followed by a restart."""
    pid = int(stack.inspect("sluice", "{{.State.Pid}}"))
    if stack.engine.name == "podman":
        return  # its restarts need a monitor outside of these namespaces
    os.kill(pid, 9)
    wait_until(lambda: stack.inspect("sluice", "{{.RestartCount}}") == "1", 30, "the engine to restart the gateway")
    wait_until(lambda: get("/readyz")[0] == 200, 60, "/readyz after the restart")
    print("restarted after kill -9 that followed a reload", flush=True)


def check_cluster(stack):
    """Three gateways behind one address have the same messages under the same numbers, also when one of them dies."""
    begin = time.monotonic()
    wait_until(lambda: get("/readyz", 8090)[0] == 200, 90, "the balancer's /readyz")
    print(f"cluster ready after {time.monotonic() - begin:.1f} s", flush=True)
    for service in ("valkey", "one", "two", "three", "balancer"):
        wait_until(lambda: stack.healthy(service), 60, f"{service} to be healthy")  # noqa: B023
    path = "/channels/devices/lamp_kitchen"

    def cursors():
        """As the gateways, in turn, say."""
        answers = [json.loads(body)["cursor"].split(".") for status, body in (get(path, 8090) for _ in range(6)) if status == 200]
        return answers if len(answers) == 6 else None

    found = wait_until(cursors, 60, "a message of the simulated devices at each gateway")
    if len({epoch for epoch, _ in found}) != 1:
        raise Failed(f"the gateways have sequences of their own: {found}")
    leaders = [service for service in ("one", "two", "three") if "takes messages in now" in stack.logs(service)]
    if len(leaders) != 1:
        raise Failed(f"{leaders} take messages in")
    before = max(int(number) for _, number in found)
    stack.engine("kill", stack.container(leaders[0]))
    after = wait_until(lambda: (lambda now: now and min(int(number) for _, number in now) > before and now)(cursors()), 40,
                       "messages after the end of the gateway that took them in")
    if {epoch for epoch, _ in after} != {found[0][0]}:
        raise Failed(f"another sequence after a gateway's end: {found}, {after}")


def check_readme(stack):
    """The five lines of README.md in a compose file that has a broker already."""
    wait_until(lambda: get("/readyz")[0] == 200, 60, "/readyz with the lines of README.md")
    stack.exec("mosquitto", "mosquitto_pub", "-t", "rooms/kitchen", "-m", "21.5", "-r")
    wait_until(lambda: '"data":21.5' in get("/channels/rooms/kitchen")[1], 15, "a value through the gateway of README.md")
    print("README.md: the five lines for an existing broker work", flush=True)


def readme_folder():
    """A folder with an existing compose.yaml as users have it, and what README.md says to add."""
    readme = (ROOT / "README.md").read_text()
    lines = re.search(r"^```yaml compose\n(.*?)^```", readme, re.S | re.M).group(1)
    config = re.search(r"^and put this into.*?^```yaml\n(.*?)^```", readme, re.S | re.M).group(1)
    folder = CACHE / "readme"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "sluice").mkdir(parents=True)
    (folder / "compose.yaml").write_text(
        'version: "3"\nservices:\n  mosquitto:\n    image: eclipse-mosquitto:2\n'
        f'    volumes: ["./mosquitto.conf:/mosquitto/config/mosquitto.conf"]\n{lines}')
    (folder / "mosquitto.conf").write_text("listener 1883\nallow_anonymous true\n")
    (folder / "sluice/sluice.yaml").write_text(config)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def phase_up(engine):
    run("ip", "link", "set", "lo", "up")
    engine.start()
    # Old compose tools have no --profile: the demo's service is named.
    try_stack(Stack(engine, CACHE / "context/docker"), check_stack, "setup", "mosquitto", "sluice", "devices")
    try_stack(Stack(engine, readme_folder()), check_readme, "mosquitto", "sluice")
    if engine.name == "podman":
        try_stack(Stack(engine, CACHE / "context/docker"), check_cluster, "setup", "mosquitto", "devices", "valkey", "one", "two",
                  "three", "balancer")


def try_stack(stack, check, *services):
    try:
        stack.compose("up", "-d", "--no-build", *services, env=dict(os.environ, COMPOSE_PROFILES="demo,cluster"))
        if stack.engine.name == "podman":
            settle_bridge(stack, services)
        check(stack)
    except Failed:
        for service in services:
            try:
                print(f"--- {service}: {stack.inspect(service, '{{.State.Status}}')}\n{stack.logs(service)[-2000:]}")
            except Failed as missing:
                print(f"--- {missing}")
        raise
    finally:
        stack.compose("down", "-v", "-t", "5", check=False)
        stack.clean()


def configure(engine):
    """Everything below the cache; nothing of the machine's own configuration."""
    (CACHE / "networks").mkdir(parents=True, exist_ok=True)
    (CACHE / "tmp").mkdir(exist_ok=True)
    (CACHE / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{CACHE}/store"\nrunroot = "/run/sluice-test/run"\n')
    (CACHE / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile={NOFILE}:{NOFILE}", "nproc=16384:16384"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\ntmp_dir = "/run/sluice-test/libpod"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{CACHE}/networks"\n')
    (CACHE / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n')
    os.environ.update(TMPDIR=str(CACHE / "tmp"), CONTAINERS_STORAGE_CONF=str(CACHE / "storage.conf"),
                      CONTAINERS_CONF=str(CACHE / "containers.conf"), CONTAINERS_REGISTRIES_CONF=str(CACHE / "registries.conf"),
                      DOCKER_BUILDKIT="1")
    # The containers run as users of their own and must get through to what is mounted.
    for folder in [CACHE, *CACHE.parents]:
        if folder.stat().st_mode & 0o001 == 0:
            print(f"containers: {folder} is closed to other users, so that nothing in it can be mounted")
            sys.exit(77)


def copy_context():
    """What git has, or would take, so that an edit of the running stack touches no file of the checkout."""
    context = CACHE / "context"
    shutil.rmtree(context, ignore_errors=True)
    names = run("git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "-c", "-o", "--exclude-standard").stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)


def in_namespaces(phase, engine, *more):
    """Runs a phase of this program in new namespaces; returns its exit status."""
    return subprocess.run(["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "--propagation", "private", *more,
                           sys.executable, "-B", __file__, engine, phase], stdin=subprocess.DEVNULL, timeout=1800).returncode


def private_run():
    """A /run of its own: the engines leave sockets and locks there. The resolver's file may lie in it."""
    resolver = pathlib.Path("/etc/resolv.conf").read_bytes()
    run("mount", "-t", "tmpfs", "none", "/run")
    os.makedirs("/run/lock", exist_ok=True)
    real = pathlib.Path("/etc/resolv.conf").resolve()
    if not real.exists():
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_bytes(resolver)


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "podman"
    if name not in ("podman", "docker"):
        print(__doc__)
        return 2
    if os.getuid() != 0:
        if run("sudo", "-n", "true", check=False).returncode:
            print("containers: root is needed")
            return 77
        return subprocess.run(["sudo", "-n", sys.executable, "-B", __file__, name]).returncode
    if run("unshare", "-m", "-p", "-n", "-f", "mount", "-t", "tmpfs", "none", "/run", check=False).returncode:
        print("containers: this machine allows no namespaces")
        return 77
    CACHE.mkdir(parents=True, exist_ok=True)
    configure(name)
    try:
        if len(sys.argv) > 2:
            private_run()
            engine = Engine(name)
            try:
                {"build": phase_build, "up": phase_up}[sys.argv[2]](engine)
            finally:
                engine.stop()
            return 0
        if not BASE.exists():
            print("making debian:bookworm-slim with debootstrap", flush=True)
            make_base()
        copy_context()
        for phase, more in (("build", []), ("up", ["-n"])):
            status = in_namespaces(phase, name, *more)
            if status:
                return status
        print(f"{name}: built, up, healthy, reloaded, down")
        return 0
    except Failed as error:
        print(f"containers: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
