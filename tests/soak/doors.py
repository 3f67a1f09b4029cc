"""What the clients with TLS and a token need, made for one run: a certificate, a shared secret, a token."""
import base64
import hashlib
import hmac
import json
import pathlib
import secrets
import ssl
import sys
import time

import websockets

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from tlsfiles import certificate # noqa: E402

LIFETIME = 7 * 86400 # seconds; longer than any run
HEADERS = "extra_headers" if int(websockets.__version__.split(".")[0]) < 14 else "additional_headers"


def base64url(bytes):
    return base64.urlsafe_b64encode(bytes).rstrip(b"=").decode()


class Doors:
    def __init__(self, directory):
        self.cert, self.key = certificate(directory, "soak")
        self.secret = directory / "jwt.secret"
        self.secret.write_text(secrets.token_hex(32))
        self.context = ssl.create_default_context(cafile=str(self.cert))
        self.headers = {"Authorization": "Bearer " + self.token("reader")}
        self.websocket = {"ssl": self.context, HEADERS: self.headers}

    def token(self, role):
        claims = {"sub": "soak", "iss": "https://soak.example", "aud": "sluice", "exp": int(time.time()) + LIFETIME, "roles": [role]}
        signed = base64url(b'{"alg":"HS256"}') + "." + base64url(json.dumps(claims).encode())
        return signed + "." + base64url(hmac.new(self.secret.read_bytes(), signed.encode(), hashlib.sha256).digest())
