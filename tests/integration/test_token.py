"""`sluice token` makes what the gateway takes, and says what it would refuse."""
import jwt
import pytest
from command import SECRET, run, with_secret
from conftest import yaml


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_token(tmp_path, algorithm):
    """PyJWT verifies what is made, and the gateway takes it."""
    file = with_secret(tmp_path, f"    issuer: https://i.example\n    audience: [a, b]\n    roles_claim: realm.roles\n    algorithms: [{algorithm}]\n")
    result = run("token", "-c", str(file), "--subject", "anna", "--role", "viewer", "--role=editor", "--claim", "site=north",
                 "--claim", 'level=[1,"x"]', "--expires", "15m")
    assert result.returncode == 0 and not result.stderr, result
    claims = jwt.decode(result.stdout.strip(), SECRET, [algorithm], issuer="https://i.example", audience="a")
    assert claims["sub"] == "anna" and claims["realm.roles"] == ["viewer", "editor"]
    assert claims["site"] == "north" and claims["level"] == [1, "x"] and claims["exp"] - claims["iat"] == 900
    said = run("explain", "-c", str(file), "--as", result.stdout.strip(), "--channel", "plants/north/x")
    assert said.returncode == 0 and "as 'anna' (token" in said.stdout
    assert "subscribe allowed by 'plants/north/#'" in said.stdout and "publish   allowed by 'plants/#'" in said.stdout


def test_token_refusals(tmp_path):
    file = str(with_secret(tmp_path))
    for args, said in ((["--role", "viewer"], "--subject NAME is expected"), (["--subject", "a", "--role", "vewer"], "no role 'vewer' (viewer, editor expected)"),
                       (["--subject", "a", "--expires", "soon"], "a duration such as 15m"), (["--subject", "a", "--claim", "x"], "NAME=VALUE"),
                       (["--subject", "a", "--claim", "exp=1"], "would refuse the token"), (["--subject", "a"] + ["--role", "viewer"] * 17, "more than 16 times")):
        result = run("token", "-c", file, *args)
        assert result.returncode == 2 and not result.stdout and said in result.stderr, result
    for text, said in ((yaml(1, "  - { topic: a }"), "there is no auth:"),
                       (yaml(1, "  - { topic: a }", extra="auth: { anonymous: [v] }\nroles: { v: { subscribe: a } }\n"), "auth.jwt.secret_file expected"),):
        other = tmp_path / "other.yaml"
        other.write_text(text)
        result = run("token", "-c", str(other), "--subject", "a")
        assert result.returncode == 2 and not result.stdout and said in result.stderr, result
    (tmp_path / "jwt.secret").unlink()
    assert "auth.jwt.secret_file:" in run("token", "-c", file, "--subject", "a").stderr
