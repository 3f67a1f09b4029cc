"""Keys of an identity provider, by URL, in a running gateway with its sandbox: rotation, outage, reload, explain."""
import base64
import json
import subprocess
import sys
import time

import jwt
import pytest
from conftest import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from harness import BINARY, ROOT, wait_until

pytestmark = pytest.mark.sanitize
SERVER = ROOT / "tests/support/jwks_server.py"
READ = "/channels/rooms/k/history"


class Issuer:
    def __init__(self, folder):
        self.folder = folder
        self.keys = {}
        self.publish("old")
        self.process = subprocess.Popen([sys.executable, str(SERVER), str(folder)])
        wait_until(lambda: (folder / "port").exists())
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text()}/jwks.json"

    def publish(self, *kids):
        """Only these keys are in the set from now on."""
        members = []
        for kid in kids:
            key = self.keys.setdefault(kid, ed25519.Ed25519PrivateKey.generate())
            raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            members.append({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()})
        (self.folder / "set.new").write_text(json.dumps({"keys": members}))
        (self.folder / "set.new").rename(self.folder / "set.json")
        self.mode("set set.json")

    def mode(self, text):
        (self.folder / "mode.new").write_text(text)
        (self.folder / "mode.new").rename(self.folder / "mode")

    def hits(self):
        file = self.folder / "hits"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def token(self, kid):
        return jwt.encode({"sub": "ann", "exp": time.time() + 600, "roles": ["viewer"]}, self.keys[kid], "EdDSA", {"kid": kid})


@pytest.fixture
def issuer(world):
    folder = world.directory / "issuer"
    folder.mkdir()
    issuer = Issuer(folder)
    yield issuer
    issuer.process.kill()
    issuer.process.wait()


def config(issuer, port):
    return yaml(port, "\n  - topic: rooms/#\n", extra=f"auth:\n  jwt: {{ jwks_url: '{issuer.url}', jwks_refresh: 1h }}\n"
                "roles: { viewer: { subscribe: 'rooms/#' } }\n")


def status(gateway, issuer, kid):
    return gateway.get(READ, headers={"Authorization": "Bearer " + issuer.token(kid)}).status_code


def test_rotation_outage_and_reload(world, issuer):
    gateway = world.sluice(config(issuer, world.broker().port))
    wait_until(lambda: status(gateway, issuer, "old") == 200)
    issuer.publish("old", "new")
    wait_until(lambda: status(gateway, issuer, "new") == 200)  # refused at first, which makes the gateway ask again
    assert status(gateway, issuer, "old") == 200
    # The issuer hangs: a reload doesn't wait for it, and keeps what was known.
    issuer.mode("hang")
    before = issuer.hits()
    gateway.signal(1)
    wait_until(lambda: "reloaded" in gateway.text())
    wait_until(lambda: issuer.hits() > before)
    assert status(gateway, issuer, "new") == 200
    # Back again, and the old key was taken out.
    issuer.publish("new")
    gateway.signal(1)
    wait_until(lambda: status(gateway, issuer, "old") == 401)
    assert status(gateway, issuer, "new") == 200


def test_a_token_that_was_verified_ends_with_its_key(world, issuer):
    """Verified tokens are remembered: not beyond the set that has their key, and not beyond a reload."""
    gateway = world.sluice(config(issuer, world.broker().port).replace("1h", "10s"))
    token = {"Authorization": "Bearer " + issuer.token("old")}
    wait_until(lambda: gateway.get(READ, headers=token).status_code == 200)
    for _ in range(3):
        assert gateway.get(READ, headers=token).status_code == 200
    changed = {"Authorization": token["Authorization"][:-4] + "AAAA"}
    assert gateway.get(READ, headers=changed).status_code == 401
    issuer.publish("new")
    wait_until(lambda: gateway.get(READ, headers=token).status_code == 401, 30, "the same token to be refused")


def test_explain_waits_for_the_keys(world, issuer):
    file = world.directory / "explain.yaml"
    file.write_text(config(issuer, 1883))
    result = subprocess.run([BINARY, "explain", "-c", str(file), "--as", "-", "--channel", "rooms/k"], input=issuer.token("old"),
                            capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert "as 'ann'" in result.stdout and "allowed by 'rooms/#'" in result.stdout
