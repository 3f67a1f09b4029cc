"""docs/migrating.md: each configuration is one that the gateway takes, and does what the text beside it says."""
import re
import subprocess

import pytest

from harness import BINARY, ROOT

CONFIGS = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/migrating.md").read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_configuration(tmp_path, number):
    assert len(CONFIGS) == 7
    file = tmp_path / "sluice.yaml"
    file.write_text(CONFIGS[number])
    checked = subprocess.run([BINARY, "check", file], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("number, channel, goes_to", [
    (0, "home/kitchen/lamp", "home/kitchen/lamp"),
    (1, "zigbee2mqtt/lamp", "zigbee2mqtt/lamp/set"),
    (2, "sensors/commands/pump", "sensors/commands/pump"),
    (2, "sensors/a", None),
    (3, "rooms/kitchen/t", None),
    (4, "rooms/kitchen/lamp", "rooms/kitchen/lamp/set"),
    (4, "rooms/kitchen/t", None),
    (5, "home/lamp", "home/lamp"),
])
def test_where_publishing_goes(tmp_path, number, channel, goes_to):
    file = tmp_path / "sluice.yaml"
    file.write_text(CONFIGS[number])
    told = subprocess.run([BINARY, "explain", "-c", file, "--channel", channel], capture_output=True, text=True, timeout=30,
                          check=True)
    found = re.findall(r"publish: +(?:to topic '(.*?)'|forbidden)", told.stdout)
    assert found
    assert next(filter(None, found), None) == goes_to, told.stdout
