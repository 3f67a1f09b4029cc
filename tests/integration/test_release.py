"""What a release is made of: one version everywhere, and a workflow whose steps exist."""
import re
import subprocess

import pytest
import yaml
from harness import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def versions(version):
    return subprocess.run([ROOT / "packaging/versions", version], capture_output=True, text=True, timeout=30)


def test_one_version_everywhere():
    version = re.search(r"project\(sluice VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert versions(version).returncode == 0
    wrong = versions("99.9.9")
    assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 7, wrong.stderr
    for name in ("CMakeLists.txt", "client/package.json", "python/pyproject.toml", "packaging/debian/changelog", "docker/compose.yaml",
                 "packaging/helm/Chart.yaml", "packaging/helm/Chart.yaml (appVersion)"):
        assert f"{name} has version '{version}', not '99.9.9'" in wrong.stderr


def test_scripts_of_the_workflow_are_shell_and_call_what_there_is():
    for step in STEPS:
        if "run" not in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), step
            continue
        text = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0, text
        for path in re.findall(r"(?<![\w/])(\./dev|packaging/\w+|\./client|docker/Dockerfile)\b", text):
            assert (ROOT / path).exists(), path
    commands = " ".join(step.get("run", "") for step in STEPS)
    for made in ("./dev test", "./dev package", "npm pack ./client", "-m build --no-isolation --outdir build/package python", "gh release create", "npm publish", "twine upload"):
        assert made in commands
    for verb in ("test", "package"):
        assert re.search(rf"(?m)^{verb}\)", (ROOT / "dev").read_text())


def test_secrets_are_optional_and_nothing_is_published_that_was_not_tested():
    jobs = WORKFLOW["jobs"]
    assert "test" in jobs["packages"]["needs"] and "test" in jobs["image"]["needs"] and set(jobs["release"]["needs"]) == {"packages", "image"}
    for step in jobs["release"]["steps"]:
        for name in re.findall(r"\$(\w+_TOKEN)\b", step.get("run", "")):
            assert step["if"] == f"env.{name} != ''"
    platforms = next(step["with"]["platforms"] for step in jobs["image"]["steps"] if "platforms" in step.get("with", {}))
    assert platforms == "linux/amd64,linux/arm64,linux/arm/v7"


def script(name):
    return next(step["run"] for step in STEPS if step.get("name") == name)


def test_the_image_has_a_name_that_a_registry_takes(tmp_path):
    """Lower case only, and the version without the tag's v, as docker/compose.yaml and the Helm chart name it."""
    for repository, tag in (("Some-Org/Sluice", "v0.1.0"), ("a/b", "v12.0.3")):
        file = tmp_path / tag
        subprocess.run(["bash", "-euc", script("Name of the image")], check=True, timeout=30,
                       env={"GITHUB_REPOSITORY": repository, "GITHUB_REF_NAME": tag, "GITHUB_ENV": str(file)})
        made = dict(line.split("=") for line in file.read_text().splitlines())
        assert made == {"IMAGE": f"ghcr.io/{repository.lower()}", "VERSION": tag[1:]}
    tags = next(step["with"]["tags"] for step in STEPS if "tags" in step.get("with", {}))
    assert tags.split("\n")[0] == "${{ env.IMAGE }}:${{ env.VERSION }}"


@pytest.mark.parametrize("registry", ["https://registry.example/", "https://registry.example", "https://registry.example/npm/"])
def test_npm_gets_its_token_where_it_looks_for_it(tmp_path, registry):
    """npm looks under the registry's address with one slash at its end."""
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$2" != get ] || {{ echo {registry}; exit; }}\necho "$@" >>{tmp_path}/calls\n')
    npm.chmod(0o755)
    subprocess.run(["bash", "-euc", script("npm")], check=True, timeout=30, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "NPM_TOKEN": "t"})
    path = registry.removeprefix("https:").rstrip("/")
    assert (tmp_path / "calls").read_text().splitlines()[0] == f"config set {path}/:_authToken t"


def test_jobs_in_a_container_trust_their_checkout():
    """It belongs to another user, so git refuses it there without this."""
    for file in ("release.yml", "ci.yml"):
        for job in yaml.safe_load((ROOT / ".github/workflows" / file).read_text())["jobs"].values():
            if "container" in job:
                uses = [step.get("uses") for step in job["steps"]].index("actions/checkout@v4")
                assert "safe.directory" in job["steps"][uses + 1]["run"]
