"""packaging/helm as Helm would render it. As a program: prints the manifests with everything switched on, as JSON."""
import copy
import json
import pathlib

import yaml
from gotemplate import Templates

CHART = pathlib.Path(__file__).resolve().parents[2] / "packaging/helm"
META = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def merged(changes, into=None):
    """The chart's values with `changes`, as Helm merges them: mappings are, all else is replaced."""
    into = copy.deepcopy(VALUES) if into is None else into
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merged(value, into[key])
        else:
            into[key] = value
    return into


def render(changes=(), values=None):
    """Returns the manifests, and the text of each template."""
    templates = Templates({path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())})
    root = {"Values": merged(dict(changes)) if values is None else values, "Chart": {"AppVersion": META["appVersion"]},
            "Release": {"Name": "live", "Namespace": "default", "Service": "Helm"}}
    texts = {name: templates.render(name, root) for name in templates.trees}
    manifests = [one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    return manifests, texts


if __name__ == "__main__":
    everything = json.loads((pathlib.Path(__file__).parent / "helm-values.json").read_text())
    print(json.dumps(render(everything)[0]))
