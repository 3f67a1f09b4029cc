"""docs/security.md: each way to lock a gateway, from its configuration to the answers, as a reader would do it. Only ports,
and the address of the identity provider, are others."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from documents import document
from harness import BINARY, ROOT, free_port, wait_until

PAGE = document("docs/security.md")
WAYS = ["An API key", "Tokens of your own backend", "An identity provider (OpenID Connect)", "A public dashboard, read-only"]
SHOW = """
shown() {
    case "$2" in *"$1"*) ;; *) printf 'expected: %s\\nprinted: %s\\n' "$1" "$2"; exit 1;; esac
}
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
"""


def script(text):
    """Commands with `# → TEXT` behind them must print that; other comments are only for people."""
    lines, checks = [], 0
    for line in text.splitlines():
        found = re.match(r"(.*?)\s*# → (.*)", line)
        if found:
            checks += 1
            expected = found.group(2).replace("'", "'\\''")
            lines.append(f"out=$({found.group(1)} 2>&1) || true\nshown '{expected}' \"$out\"")
        else:
            lines.append(line)
    return "\n".join(lines), checks


def identity_provider(world):
    """A provider that publishes one RSA key, and gives an access token like Keycloak's."""
    folder = world.directory / "issuer"
    folder.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    (folder / "set.json").write_text(json.dumps({"keys": [dict(public, kid="one", use="sig")]}))
    (folder / "mode").write_text("set set.json")
    server = subprocess.Popen([sys.executable, str(ROOT / "tests/support/jwks_server.py"), str(folder)])
    wait_until(lambda: (folder / "port").exists())
    claims = {"sub": "ann", "iss": "https://id.example", "aud": "sluice", "exp": time.time() + 600, "realm_access": {"roles": ["viewer", "other"]}}
    (world.directory / "access.token").write_text(jwt.encode(claims, key, "RS256", {"kid": "one"}))
    return server, f"http://127.0.0.1:{(folder / 'port').read_text()}/certs"


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_lock_it(world, way):
    broker, port = world.broker(), free_port()
    server, keys = identity_provider(world) if "identity" in way else (None, "")
    tools = world.directory / "bin"
    tools.mkdir()
    (tools / "sluice").symlink_to(BINARY)
    (tools / "python3").symlink_to("/usr/bin/python3")
    (world.directory / "jwt.secret").write_text("")  # is made by the page
    text, checks = SHOW, 0
    for block in PAGE.blocks:
        if block.heading != way:
            continue
        body = block.text.replace("127.0.0.1:1883", f"127.0.0.1:{broker.port}").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        body = body.replace("localhost:8080", f"127.0.0.1:{port}").replace("https://id.example/certs", keys)
        if block.language == "yaml":
            (world.directory / re.match(r"# (\S+\.yaml)\n", body).group(1)).write_text(body)
        elif block.language == "sh":
            commands, more = script(body)
            text, checks = text + commands + "\n", checks + more
    assert checks >= 4
    try:
        done = subprocess.Popen(["bash", "-eu", "-c", text], cwd=world.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}"), start_new_session=True)
        try:
            printed = done.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(done.pid, signal.SIGKILL)
            printed = done.communicate()[0]
        assert done.returncode == 0, printed
    finally:
        if server:
            server.kill()
            server.wait()
