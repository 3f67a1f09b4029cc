"""docs/recipes/kubernetes.md: what the manifests name is there, and their configuration is one that the gateway takes.
tests/browser/recipes.test.mjs checks them against the schemas of the Kubernetes API and runs the other recipes."""
import re
import subprocess

import yaml
from documents import document
from harness import BINARY, ROOT

BLOCKS = [block.text for block in document("docs/recipes/kubernetes.md").blocks if block.words == ["kubernetes"]]
OBJECTS = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(BLOCKS[0])}
POD = OBJECTS["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


def test_the_configuration_is_taken(tmp_path):
    (tmp_path / "password").write_text("secret")
    (name, text), = OBJECTS["ConfigMap"]["data"].items()
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert f'CMD ["-c", "{mounts["config"]}/{name}"]' in dockerfile
    secret = re.search(r"password_file: (\S+)", text).group(1)
    assert secret == f"{mounts['secrets']}/mqtt_password"
    (tmp_path / name).write_text(text.replace(secret, str(tmp_path / "password")))
    checked = subprocess.run([BINARY, "check", str(tmp_path / name)], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
    port = CONTAINER["ports"][0]["containerPort"]
    assert f":{port}" in text and f"EXPOSE {port}" in dockerfile


def test_the_manifests_fit_one_another():
    assert len(BLOCKS) == 1 and set(OBJECTS) == {"ConfigMap", "Deployment", "Service", "Ingress"}
    labels = POD["metadata"]["labels"]
    assert OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels == OBJECTS["Service"]["spec"]["selector"]
    ports = {port["name"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for port in OBJECTS["Service"]["spec"]["ports"]} <= ports
    assert all(CONTAINER[probe]["httpGet"]["port"] in ports for probe in ("livenessProbe", "readinessProbe"))
    backend = OBJECTS["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == OBJECTS["Service"]["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in OBJECTS["Service"]["spec"]["ports"]}
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]
    user, group = re.search(r"^USER (\d+):(\d+)$", (ROOT / "docker/Dockerfile").read_text(), re.M).groups()
    context = POD["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (int(user), int(group), int(group))


def test_the_probed_address_is_served(world):
    gateway = world.sluice(f"broker: {{ url: mqtt://127.0.0.1:{world.broker().port} }}\n" 'listen: [{ address: "127.0.0.1:0" }]\nroutes: [{ topic: "#" }]\n')
    for probe in ("livenessProbe", "readinessProbe"):
        assert gateway.get(CONTAINER[probe]["httpGet"]["path"], headers={"Host": "10.0.0.7:8080"}).status_code == 200
