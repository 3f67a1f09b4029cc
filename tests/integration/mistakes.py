"""Files with a mistake, and what `sluice check` says of them."""
import subprocess

from harness import BINARY

BROKER = "broker:\n  url: mqtt://h\n"
ROUTE = "routes:\n  - topic: a\n"
PASSWORD = BROKER + "  username: u\n  password: "


def check(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = subprocess.run([BINARY, "check", "x.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    open_to_all = "warning: listen: 0.0.0.0:8080 is open to everybody"
    return done.returncode, [line.removeprefix("x.yaml:") for line in done.stderr.splitlines() if open_to_all not in line]
