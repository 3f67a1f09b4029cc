"""The binary as a command, and a configuration that has a secret for its tokens."""
import os
import subprocess

from conftest import yaml
from harness import BINARY, free_port


def run(*args, **env):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=30, env=dict(os.environ, **env))


SECRET = "0123456789abcdef" * 4


def with_secret(directory, jwt_keys="", secret=SECRET + "\n"):
    (directory / "jwt.secret").write_text(secret)
    file = directory / "token.yaml"
    file.write_text(yaml(free_port(), "  - { topic: plants/#, publish: {} }", extra="auth:\n  jwt:\n    secret_file: "
                         f"{directory}/jwt.secret\n{jwt_keys}roles:\n"
                         "  viewer: { subscribe: 'plants/{claims.site}/#' }\n  editor: { publish: 'plants/#' }\n"))
    return file
