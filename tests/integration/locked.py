"""A gateway with doors: keys and tokens made by an independent implementation (PyJWT), at test time."""
import hashlib
import secrets
import time

import jwt
from conftest import yaml

ROUTES = """
  - topic: plants/{site}/{kind}/{id}
    history: { count: 1000 }
    publish: {}
  - topic: plants/{site}/{kind}/{id}/set
  - topic: rooms/{room}/{kind}
    history: { count: 1000 }
  - topic: lamps/{id}
    publish: {}
  - topic: public/{rest...}
  - topic: secret/{rest...}
    publish: {}
"""

ROLES = """
roles:
  viewer:
    subscribe: ["rooms/#", "lamps/+"]
  switcher:
    subscribe: lamps/+
    publish: lamps/+
  site:
    subscribe: "plants/{claims.site}/#"
    publish: "plants/{claims.site}/lamps/+"
  live:
    subscribe: rooms/#
    history: []
  some:
    subscribe: ["rooms/#", "public/#"]
    fields: [t, h]
  guest:
    subscribe: public/#
  admin:
    subscribe: "#"
    publish: "#"
"""


class Doors:
    """The configuration, and the keys to it."""

    def __init__(self, directory):
        self.secret = secrets.token_hex(32)
        self.file = directory / "secret"
        self.file.write_text(self.secret + "\n")
        self.key = "slk_" + secrets.token_urlsafe(32)

    def yaml(self, port, roles=ROLES, auth="", jwt_extra="", extra="", key=True, routes=ROUTES, **kwargs):
        keys = ""
        if key:
            digest = hashlib.sha256(self.key.encode()).hexdigest()
            keys = f"  api_keys:\n    - name: kiosk\n      hash: sha256:{digest}\n      roles: [viewer]\n"
        return yaml(port, routes, extra=f"auth:\n  jwt:\n    secret_file: {self.file}\n{jwt_extra}{keys}{auth}{roles}{extra}", **kwargs)

    def token(self, *roles, lifetime=600, key=None, algorithm="HS256", headers=None, **claims):
        payload = {"sub": "somebody", "exp": time.time() + lifetime, "roles": list(roles)}
        payload.update(claims)
        return jwt.encode({name: value for name, value in payload.items() if value is not None}, key or self.secret, algorithm,
                          headers=headers)

    def bearer(self, *roles, **kwargs):
        return {"Authorization": "Bearer " + self.token(*roles, **kwargs)}
