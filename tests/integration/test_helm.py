"""packaging/helm, rendered: what the manifests name is there, and the gateway takes their configuration.

tests/browser/recipes.test.mjs checks the same manifests against the schemas of the Kubernetes API.
"""
import copy
import json
import re
import subprocess

import jsonschema
import pytest
import yaml
from documents import document
from gotemplate import Failed
from harness import BINARY, ROOT
from helmchart import CHART, VALUES, merged, render

EVERYTHING = json.loads((ROOT / "tests/support/helm-values.json").read_text())
ENGINE = EVERYTHING["config"]


def by_kind(**changes):
    return {manifest["kind"]: manifest for manifest in render(changes)[0]}


def check(tmp_path, text):
    (tmp_path / "sluice.yaml").write_text(text)
    return subprocess.run([BINARY, "check", tmp_path / "sluice.yaml"], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("config", [VALUES["config"], ENGINE, (ROOT / "config/minimal.yaml").read_text(), "routes: []", "# {{ x }}\n\n\na: |\n  b\n\n"])
def test_the_configuration_arrives_as_it_was_written(config):
    """Also one with template signs, blank lines or without a line end."""
    (text,) = by_kind(config=config)["ConfigMap"]["data"].values()
    assert text.rstrip() == config.rstrip()


def test_the_gateway_takes_the_configuration(tmp_path):
    for config in (VALUES["config"], ENGINE):
        done = check(tmp_path, by_kind(config=config)["ConfigMap"]["data"]["sluice.yaml"])
        assert done.returncode == 0, done.stderr
    password = tmp_path / "mqtt_password"
    password.write_text("x")
    commented = re.sub(r"(?m)^( *)# (username|password_file|web|  trusted)", r"\1\2", VALUES["config"]).replace("/secrets/mqtt_password", str(password))
    done = check(tmp_path, commented)
    assert commented.count("#") < VALUES["config"].count("#") and done.returncode == 0, done.stderr


def test_what_is_asked_for_is_made():
    assert set(by_kind()) == {"ConfigMap", "Deployment", "Service"}
    assert set(by_kind(ingress={"enabled": True})) == {"ConfigMap", "Deployment", "Service", "Ingress"}
    assert by_kind(replicaCount=3, config=ENGINE)["PodDisruptionBudget"]["spec"]["minAvailable"] == 1
    with pytest.raises(Failed, match="no engine:"):
        render({"replicaCount": 2})
    with pytest.raises(Failed, match="no engine:"):
        render({"replicaCount": 2, "config": VALUES["config"] + "# engine:\n"})


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_manifests_fit_one_another(changes):
    found = by_kind(**changes)
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    selector = found["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selector == found["Service"]["spec"]["selector"] and selector.items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert found["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert all(container[probe]["httpGet"]["port"] in ports for probe in ("livenessProbe", "readinessProbe"))
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["spec"]["volumes"]}
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert f'CMD ["-c", "{mounts["config"]}/sluice.yaml"]' in dockerfile
    user, group = map(int, re.search(r"^USER (\d+):(\d+)$", dockerfile, re.M).groups())
    context = pod["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
    if "Ingress" in found:
        spec = found["Ingress"]["spec"]
        backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert (backend["name"], backend["port"]["name"]) == (found["Service"]["metadata"]["name"], found["Service"]["spec"]["ports"][0]["name"])
        assert spec["tls"][0]["hosts"] == [spec["rules"][0]["host"]]


def test_a_change_of_the_configuration_replaces_the_pods_unless_it_shall_not():
    def annotations(**changes):
        return by_kind(**changes)["Deployment"]["spec"]["template"]["metadata"].get("annotations")

    assert annotations() != annotations(config=ENGINE)
    assert annotations(restartOnChange=False) == annotations(restartOnChange=False, config=ENGINE) == VALUES["podAnnotations"]
    values = merged({"restartOnChange": False})
    values["podAnnotations"] = {}
    assert "annotations:" not in render(values=values)[1]["deployment.yaml"]


def test_the_defaults_are_those_of_the_page_that_is_written_by_hand():
    (block,) = [block.text for block in document("docs/recipes/kubernetes.md").blocks if block.words == ["kubernetes"]]
    page = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(block)}
    ours = by_kind(existingSecret="sluice")

    def pod(found):
        spec = copy.deepcopy(found["Deployment"]["spec"]["template"]["spec"])
        spec["containers"][0].pop("imagePullPolicy", None)
        for volume in spec["volumes"]:
            volume.pop("configMap", None)
        return spec

    assert pod(ours) == pod(page)
    assert VALUES["ingress"]["annotations"] == page["Ingress"]["metadata"]["annotations"]


def test_the_schema_knows_every_value_and_refuses_others():
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(VALUES, schema)
    jsonschema.validate(merged(EVERYTHING), schema)
    assert set(VALUES) == set(schema["properties"]) - {"global"}
    for wrong in ({"replicas": 2}, {"replicaCount": "2"}, {"config": {}}, {"config": ""}, {"ingress": {"hosts": []}}, {"port": 0}, {"livenessPath": "healthz"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(merged(wrong), schema)


def test_the_notes_say_where_and_warn_without_auth():
    notes = render({})[1]["NOTES.txt"]
    assert "port-forward service/live 8080:80" in notes and "no auth:" in notes
    notes = render({"ingress": {"enabled": True, "tlsSecret": "s"}, "config": VALUES["config"] + "auth: {}\n"})[1]["NOTES.txt"]
    assert "https://dash.example/" in notes and "no auth:" not in notes


def test_the_program_that_renders_takes_only_what_it_understands():
    from gotemplate import Templates
    for text in ("{{ range .a }}{{ end }}", "{{ nosuch .a }}", "{{ if .a }}", "{{ end }}", "{{ .b }}", "{{ $x := 1 }}"):
        with pytest.raises((AssertionError, KeyError, IndexError, TypeError, ValueError)):
            Templates({"t": text}).render("t", {"a": 1})
