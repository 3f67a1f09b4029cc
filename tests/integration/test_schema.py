"""The JSON Schema: what the gateway takes is valid for it, and what is broken is not, by a stock validator."""
import copy
import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml
from harness import BINARY, ROOT

SCHEMA = json.loads((ROOT / "config/sluice.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
FILES = sorted((ROOT / "config").glob("*.yaml")) + [ROOT / "docker/sluice/sluice.yaml", ROOT / "packaging/sluice.yaml"]
CASES = sorted((ROOT / "tests/unit/config").glob("*.yaml"))
MINIMAL = {"broker": {"url": "mqtt://127.0.0.1:1883"}, "routes": [{"topic": "a"}]}


def load(path):
    return yaml.safe_load(path.read_text())


def problems(document):
    return [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def check(tmp_path, document):
    """The gateway's own opinion: its exit status, and what it says."""
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump(document))
    result = subprocess.run([BINARY, "check", str(path)], capture_output=True, text=True, timeout=30)
    return result.returncode, result.stderr


def test_schema_is_a_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(subprocess.run([BINARY, "schema"], capture_output=True, text=True, timeout=30).stdout) == SCHEMA


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_our_files_are_valid(path):
    assert problems(load(path)) == []


def uncommented(text):
    """reference.yaml with every key that is commented out in it."""
    return re.sub(r"^( *)# ( *)(?=[a-z_]+:|- )", r"\1\2", text, flags=re.M)


def test_reference_with_everything_switched_on_is_valid():
    document = yaml.safe_load(uncommented((ROOT / "config/reference.yaml").read_text()))
    assert {"auth", "roles", "user"} <= set(document) and "tls" in document["broker"]
    assert problems(document) == []


@pytest.mark.parametrize("path", [path for path in CASES if not path.with_suffix(".expected").read_text()], ids=lambda path: path.stem)
def test_good_cases_are_valid(path):
    assert problems(load(path)) == []


@pytest.mark.parametrize("name", ["kinds", "list", "access"])
def test_bad_cases_are_not(name):
    path = ROOT / f"tests/unit/config/{name}.yaml"
    assert path.with_suffix(".expected").read_text()
    assert problems(load(path))


def places(schema, path=()):
    """Every key of the schema with where it stands; [] for the entries of a list, one name for a map's."""
    for key, sub in schema.get("properties", {}).items():
        yield path + (key,), sub
        yield from places(sub, path + (key,))
    if isinstance(schema.get("items"), dict):
        yield from places(schema["items"], path + (0,))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from places(schema["additionalProperties"], path + ("somebody",))


def put(path, value):
    """MINIMAL with a value at a place, and what is required on the way to it."""
    document = copy.deepcopy(MINIMAL)
    at = document
    for here, following in zip(path, path[1:]):
        if isinstance(at, dict) and not at.get(here):
            at[here] = [{}] if following == 0 else {}
        at = at[here]
    at[path[-1]] = value
    return document


def about(error_lines, path):
    """Does the gateway complain about this place?"""
    name = ".".join(str(part) for part in path).replace(".0", "[0]")
    return any(f" {name}" in line for line in error_lines.splitlines())


@pytest.mark.parametrize("path,schema", list(places(SCHEMA)), ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "")
def test_every_key(tmp_path, path, schema):
    """A value of the wrong kind and a key misspelt are seen by both; the default is taken by the schema."""
    wrong = [{"a": "b"}] if "object" in schema.get("type", "") else {"a": "b"}
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        wrong = "text"
    document = put(path, wrong)
    assert any(error.absolute_path and list(error.absolute_path)[:len(path)] == list(path) for error in VALIDATOR.iter_errors(document))
    status, text = check(tmp_path, document)
    assert status == 2 and about(text, path), text

    misspelt = path[:-1] + (path[-1] + "x",)
    document = put(misspelt, "1")
    assert any("Additional properties" in problem for problem in problems(document))
    status, text = check(tmp_path, document)
    assert status == 2 and "unknown key" in text

    if "default" in schema:
        before = set(problems(put(path, "${X}")))  # what else is missing there
        assert set(problems(put(path, schema["default"]))) <= before
    bounded = [choice for choice in schema.get("anyOf", []) if "maximum" in choice]
    for outside in [value for choice in bounded for value in (choice["minimum"] - 1, choice["maximum"] + 1)]:
        document = put(path, outside)
        assert any(list(error.absolute_path)[:len(path)] == list(path) for error in VALIDATOR.iter_errors(document)), outside
        status, text = check(tmp_path, document)
        assert status == 2 and about(text, path), (outside, text)


@pytest.mark.parametrize("wrong", [
    {"web": {"heartbeat": 25}}, {"web": {"heartbeat": "25"}}, {"web": {"heartbeat": "25 s"}}, {"limits": {"frame": "1MB"}},
    {"sandbox": "yes please"}, {"workers": "2"}, {"routes": []}, {"routes": [{"topic": "a", "qos": 3}]}, {"routes": [{"qos": 1}]},
    {"routes": [{"topic": "a", "codec": "xml"}]}, {"broker": {}}, {"log": {"level": "loud"}}, {"listen": []}, {"listen": "0.0.0.0:80"}],
    ids=lambda wrong: json.dumps(wrong))
def test_broken_files(tmp_path, wrong):
    document = {**MINIMAL, **wrong}
    assert problems(document)
    assert check(tmp_path, document)[0] == 2


@pytest.mark.parametrize("right", [
    {"web": None}, {"web": {"heartbeat": "1.5s"}}, {"limits": {"frame": 65536}}, {"workers": "${WORKERS:-2}"}, {"sandbox": False},
    {"routes": [{"topic": "a", "qos": "2", "publish": None}]}, {"broker": {"url": "mqtt://h", "protocol": "3.1.1"}},
    {"broker": {"url": "mqtt://h", "protocol": 5}}, {"web": {"origins": "https://a.example"}}], ids=lambda right: json.dumps(right))
def test_good_files(tmp_path, right):
    document = {**MINIMAL, **right}
    assert problems(document) == []
    status, said = check(tmp_path, document)
    assert status == 0 and all("is open to everybody" in line for line in said.splitlines())


def test_generated_documents_can_be_stale(tmp_path):
    """The check of ./dev test must be able to fail."""
    script = (ROOT / "tests/generated.py").read_text()
    for name in ("config", "docs/man", "packaging/completions"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/generated.py").write_text(script)
    for name in ("config/sluice.schema.json", "docs/configuration.md", "docs/man/sluice.yaml.5"):
        text = (ROOT / name).read_text()
        (tmp_path / name).write_text(text.replace("keep-alive", "keepalive", 1).replace("keep\\-alive", "keepalive", 1))
    env = dict(os.environ, SLUICE_BINARY=BINARY)
    run = ["/usr/bin/python3", str(tmp_path / "tests/generated.py")]
    result = subprocess.run(run, capture_output=True, text=True, env=env, timeout=60)
    assert result.returncode == 1
    for name in ("config/sluice.schema.json", "docs/configuration.md", "docs/man/sluice.yaml.5", "packaging/completions/sluice.bash"):
        assert name in result.stdout
    assert subprocess.run([*run, "--write"], env=env, timeout=60).returncode == 0
    assert subprocess.run(run, env=env, timeout=60).returncode == 0
