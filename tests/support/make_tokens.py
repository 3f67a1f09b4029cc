#!/usr/bin/env python3
"""Makes keys and tokens for the tests of authentication, with PyJWT and cryptography: another implementation than the one
under test. Everything is new with each run; nothing of it is ever committed.

    make_tokens.py FOLDER

leaves PEM files, secrets and JWK sets in FOLDER, and tokens.tsv: configuration, name, expected outcome, token, reason.
"""
import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import pathlib
import secrets
import sys

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = 1_800_000_000  # what the tests take for the present
GOOD = {"sub": "ann", "iss": "https://id.example", "aud": "sluice", "exp": NOW + 60, "iat": NOW - 5, "nbf": NOW - 5,
        "roles": ["viewer"], "site": "north"}


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(key, **more):
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers, size = public.public_numbers(), (key.curve.key_size + 7) // 8
        return {"kty": "EC", "crv": f"P-{key.curve.key_size}", "x": number(numbers.x, size), "y": number(numbers.y, size), **more}
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), **more}


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "id.example")])
    now = datetime.datetime(2026, 1, 1)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256()))
    return cert.public_bytes(serialization.Encoding.PEM)


def hs(secret, header, claims, digest=hashlib.sha256):
    """Signed by hand: for headers and claims that PyJWT refuses to write. Texts are taken as they are."""
    parts = [b64(part if isinstance(part, (str, bytes)) else json.dumps(part)) for part in (header, claims)]
    body = ".".join(parts)
    return body + "." + b64(hmac.new(secret, body.encode(), digest).digest())


class Maker:
    def __init__(self, folder):
        self.folder = folder
        self.rows = []
        self.rsa, self.rsa2, self.weak = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024))
        self.ec, self.ec384, self.ec521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
        self.ed, self.ed2 = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
        self.secret = secrets.token_bytes(64).replace(b"\n", b"x").replace(b"\r", b"x")
        self.short = self.secret[:32]

    def file(self, name, data):
        (self.folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())

    def files(self):
        for name in ("rsa", "rsa2", "weak", "ec", "ec384", "ec521", "ed"):
            self.file(name + ".pem", pem(getattr(self, name)))
        self.file("cert.pem", certificate(self.rsa))
        private = self.rsa.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.file("private.pem", private)
        self.file("tls.pem", private + certificate(self.rsa))
        self.file("garbage.pem", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
        self.file("empty", b"")
        self.file("secret", self.secret + b"\r\n")
        self.file("short32", self.short)
        self.file("short31", self.secret[:31] + b"\n")
        everything = [jwk(self.rsa, kid="rsa", alg="RS256", use="sig"), jwk(self.ec, kid="ec"), jwk(self.ed, kid="ed"),
                      jwk(self.rsa2, kid="enc", use="enc"), jwk(self.weak, kid="weak"), jwk(self.rsa2, kid="ops", key_ops=["encrypt"]),
                      jwk(self.ec384, kid="mismatch", alg="ES256"), {"kty": "strange"}, 7, {"kty": "RSA", "n": "!", "e": "AQAB"},
                      {**jwk(self.rsa2, kid="e1"), "e": "AQ"}, {"kty": "oct", "kid": "oct", "k": b64(self.secret)}]
        self.file("set.json", {"keys": everything})
        self.file("weak.json", {"keys": [jwk(self.weak)]})
        self.file("set_ed.json", {"keys": [jwk(self.ed, kid="ed")]})
        self.file("set_ed2.json", {"keys": [jwk(self.ed2, kid="ed2")]})
        self.file("set_oct.json", {"keys": [jwk(self.ed, kid="ed"), {"kty": "oct", "kid": "oct", "k": b64(self.secret)}]})

    def row(self, config, name, expected, token, reason=""):
        self.rows.append("\t".join((config, name, expected, token, reason)))

    def good(self, config, name, key, alg, headers=None, **claims):
        self.row(config, name, "ok", jwt.encode({**GOOD, **claims}, key, alg, headers))

    def bad(self, config, name, reason, token, expected="unauthorized"):
        self.row(config, name, expected, token, reason)

    def claims(self, name, reason, expected="unauthorized", **changed):
        """Rightly signed, with claims changed (None: left out)."""
        claims = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
        self.row("hs", name, expected, hs(self.secret, {"alg": "HS256", "typ": "JWT"}, claims), reason)

    def signatures(self):
        for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            self.good("rsa", alg, self.rsa, alg)
        self.good("cert", "RS256 by certificate", self.rsa, "RS256")
        self.good("ec", "ES256", self.ec, "ES256")
        self.good("ec384", "ES384", self.ec384, "ES384")
        self.good("ec521", "ES512", self.ec521, "ES512")
        self.good("ed", "EdDSA", self.ed, "EdDSA")
        for alg in ("HS256", "HS384", "HS512"):
            self.good("hs", alg, self.secret, alg)
        self.good("hs", "kid of somebody else's, key without kid", self.secret, "HS256", {"kid": "x"})
        self.good("hs", "any typ", self.secret, "HS256", {"typ": "at+jwt"})
        for kid, key, alg in (("rsa", self.rsa, "RS256"), ("ec", self.ec, "ES256"), ("ed", self.ed, "EdDSA"), ("oct", self.secret, "HS256")):
            self.good("set", "set by kid " + kid, key, alg, {"kid": kid})
            self.good("set", "set without kid " + kid, key, alg)

    def wrong_keys(self):
        fit, known, alg = "signature does not fit", "key that is not known", "algorithm that is not taken"
        self.bad("rsa", "wrong key RSA", fit, jwt.encode(GOOD, self.rsa2, "RS256"))
        self.bad("ed", "wrong key Ed25519", fit, jwt.encode(GOOD, self.ed2, "EdDSA"))
        self.bad("ec", "wrong key EC", fit, jwt.encode(GOOD, ec.generate_private_key(ec.SECP256R1()), "ES256"))
        self.bad("hs", "wrong secret", fit, jwt.encode(GOOD, self.secret + b"x", "HS256"))
        self.bad("short", "HS512 with 32 bytes", known, jwt.encode(GOOD, self.short, "HS512"))
        self.bad("set", "unknown kid", known, jwt.encode(GOOD, self.rsa, "RS256", {"kid": "nobody"}))
        self.bad("set", "key for encryption", known, jwt.encode(GOOD, self.rsa2, "RS256", {"kid": "enc"}))
        self.bad("set", "key with other key_ops", known, jwt.encode(GOOD, self.rsa2, "RS256", {"kid": "ops"}))
        self.bad("set", "weak key", known, jwt.encode(GOOD, self.weak, "RS256", {"kid": "weak"}))
        self.bad("set", "algorithm beside the key's alg", known, jwt.encode(GOOD, self.rsa, "RS512", {"kid": "rsa"}))
        self.bad("only", "algorithm not configured", alg, jwt.encode(GOOD, self.rsa, "RS512"))
        self.bad("set", "kid of a key of another type", known, jwt.encode(GOOD, self.ec, "ES256", {"kid": "rsa"}))

    def algorithms(self):
        alg, broken = "algorithm that is not taken", "no signed JSON Web Token"
        for spelling in ("none", "None", "nOnE", "NONE", "none ", "", "hs256", "HS256 ", "HS257", "A128KW"):
            self.bad("hs", f"alg {spelling!r} signed", alg, hs(self.secret, {"alg": spelling}, GOOD))
            self.bad("rsa", f"alg {spelling!r} unsigned", broken, b64(json.dumps({"alg": spelling})) + "." + b64(json.dumps(GOOD)) + ".")
        for value in (None, 1, ["HS256"], {}, True):
            self.bad("hs", f"alg {value!r}", alg, hs(self.secret, {"alg": value}, GOOD))
        self.bad("hs", "no alg", alg, hs(self.secret, {"typ": "JWT"}, GOOD))
        # RFC 8725 section 2.1: the public key taken for a secret, in every form in which somebody might have it.
        public = pem(self.rsa)
        der = self.rsa.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for name, secret in (("PEM", public), ("PEM without line end", public.strip()), ("DER", der),
                             ("JWK", json.dumps(jwk(self.rsa)).encode()), ("nothing", b"")):
            for config in ("rsa", "set"):
                self.bad(config, f"RS256 to HS256 with {name}", "", hs(secret, {"alg": "HS256", "kid": "rsa"}, GOOD))
                self.bad(config, f"RS256 to HS512 with {name}", "", hs(secret, {"alg": "HS512"}, GOOD, hashlib.sha512))
        # CVE-2022-21449, and its relatives.
        body = b64(json.dumps({"alg": "ES256"})) + "." + b64(json.dumps(GOOD))
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        for name, r, s in (("0, 0", 0, 0), ("1, 0", 1, 0), ("0, 1", 0, 1), ("n, n", order, order), ("1, 1", 1, 1)):
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            self.bad("ec", f"ES256 with r, s = {name}", "signature does not fit", body + "." + b64(signature))
        self.bad("ec", "ES256 in DER", "signature does not fit", body + "." + b64(self.ec.sign(body.encode(), ec.ECDSA(hashes.SHA256()))))
        self.bad("ed", "EdDSA of zeros", "signature does not fit", b64('{"alg":"EdDSA"}') + "." + b64(json.dumps(GOOD)) + "." + b64(bytes(64)))
        self.bad("rsa", "RS256 of zeros", "signature does not fit", b64('{"alg":"RS256"}') + "." + b64(json.dumps(GOOD)) + "." + b64(bytes(256)))
        # A key that the token brings itself (CVE-2018-0114), or says where to find.
        mine = {"jwk": jwk(self.rsa2), "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/", "x5c": [b64(certificate(self.rsa2))]}
        for name, value in mine.items():
            self.bad("rsa", f"key in the header: {name}", "signature does not fit", jwt.encode(GOOD, self.rsa2, "RS256", {name: value}))

    def headers(self):
        broken = "header is malformed"
        for name, kid in (("path", "../../../../dev/null"), ("SQL", "' UNION SELECT 'x"), ("blank", ""), ("shell", "| id"), ("line", "a\nb")):
            self.bad("set", f"kid as {name}", "key that is not known", jwt.encode(GOOD, b"", "HS256", {"kid": kid}))
        self.bad("set", "kid huge", broken, jwt.encode(GOOD, self.secret, "HS256", {"kid": "k" * 3000}))
        for value in (1, None, [], {}, ["rsa"]):
            self.bad("set", f"kid {value!r}", broken, hs(self.secret, {"alg": "HS256", "kid": value}, GOOD))
        for value in (["exp"], ["b64"], [], "exp", None):
            self.bad("hs", f"crit {value!r}", "critical", hs(self.secret, {"alg": "HS256", "crit": value, "b64": False}, GOOD))
        self.bad("hs", "typ a number", broken, hs(self.secret, {"alg": "HS256", "typ": 1}, GOOD))
        for name, header in (("twice", '{"alg":"HS256","alg":"HS256"}'), ("a list", '["HS256"]'), ("no JSON", "{"), ("empty", ""),
                             ("not UTF-8", b'{"alg":"HS256","x":"\xff"}'), ("behind", '{"alg":"HS256"}x'), ("NUL", '{"alg":"HS256"}\0')):
            self.bad("hs", f"header {name}", "no signed JSON Web Token", hs(self.secret, header, GOOD))

    def shapes(self):
        good = hs(self.secret, {"alg": "HS256"}, GOOD)
        head, body, tail = good.split(".")
        for i in range(0, len(good), 7):
            self.bad("hs", f"cut to {i}", "", good[:i])
        for i in range(0, len(good), 11):
            other = "A" if good[i] != "A" else "B"
            self.bad("hs", f"byte {i} changed", "", good[:i] + other + good[i + 1:])
        for name, token in (("four parts", good + ".x"), ("JWE", good + ".x.y"), ("no signature", head + "." + body + "."),
                            ("padding", good + "="), ("blank in front", " " + good), ("blank behind", good + " "), ("only dots", ".."),
                            ("one dot", "."), ("dots", "." * 100), ("Bearer", "Bearer " + good), ("base64 with +", head + "." + body + ".++++"),
                            ("no header", "." + body + "." + tail), ("no claims", head + ".." + tail),
                            ("spare bits", good[:-1] + chr(ord(good[-1]) + 1)), ("quoted", '"' + good + '"')):
            self.bad("hs", name, "", token)
        self.claims("oversized", "too long", padding="x" * 9000)
        self.claims("just fits", "", expected="ok", padding="x" * 5000)

    def bodies(self):
        broken = "claims are malformed"
        text = json.dumps(GOOD)
        for name, body in (("twice", text[:-1] + ',"exp":99999999999}'), ("twice sub", '{"sub":"root",' + text[1:]), ("a list", "[]"), ("a text", '"x"'),
                           ("null", "null"), ("no JSON", text[:-1]), ("not UTF-8", text.encode().replace(b"ann", b"\xc0\xaf")),
                           ("surrogate", text.replace("ann", "\\ud800")), ("NUL", text.replace("ann", "a\\u0000b")), ("behind", text + "{}"),
                           ("deep", "[" * 3000 + "]" * 3000), ("deep in a claim", text[:-1] + ',"x":' + "[" * 2900 + "]" * 2900 + "}"),
                           ("number too large", text[:-1] + ',"x":1' + "0" * 400 + "}")):
            self.bad("hs", f"claims {name}", broken, hs(self.secret, {"alg": "HS256"}, body))
        self.bad("hs", "claims deep, 10,000", "too long", hs(self.secret, {"alg": "HS256"}, "[" * 10000 + "]" * 10000))
        self.bad("hs", "claims with a NUL byte", "no signed", hs(self.secret, {"alg": "HS256"}, text + "\0"))

    def times(self):
        broken = "times are malformed"
        self.claims("expired", "has expired", "expired", exp=NOW - 11)
        self.claims("expired, within leeway", "", "ok", exp=NOW - 9)
        self.claims("expired, at the end of leeway", "has expired", "expired", exp=NOW - 10)
        self.claims("exp long ago", "has expired", "expired", exp=0)
        self.claims("exp with a fraction", "", "ok", exp=NOW + 0.5)
        self.claims("exp with a fraction, past", "has expired", "expired", exp=NOW - 10.5)
        self.claims("no exp", "no time of expiry", exp=None)
        self.claims("not yet valid", "not valid yet", nbf=NOW + 11)
        self.claims("nbf within leeway", "", "ok", nbf=NOW + 10)
        self.claims("no nbf, no iat", "", "ok", nbf=None, iat=None)
        self.claims("iat ahead a little", "", "ok", iat=NOW + 200)
        self.claims("iat in the future", "issued in the future", iat=NOW + 3600)
        for value in (str(NOW + 60), -1, -1e300, 1e300, 10**15, NOW * 1000, True, [], {}, [NOW + 60], "", "never", 9223372036854775807):
            for name in ("exp", "nbf", "iat"):
                self.claims(f"{name} {value!r}", broken, **{name: value})
        self.bad("hs", "exp null", broken, hs(self.secret, {"alg": "HS256"}, {**GOOD, "exp": None}))

    def parties(self):
        for value in ("other", [], ["other"], ["SLUICE", "sluice "], ""):
            self.claims(f"aud {value!r}", "another audience", aud=value)
        for value in (1, {}, [1], ["sluice", 1], {"sluice": 1}, True):
            self.claims(f"aud {value!r}", "(aud) is malformed", aud=value)
        self.claims("no aud", "another audience", aud=None)
        self.claims("aud in a list", "", "ok", aud=["a", "sluice"])
        self.claims("aud, the second", "", "ok", aud="sluice-2")
        for value in ("https://id.example/", "https://evil.example", "", "HTTPS://ID.EXAMPLE"):
            self.claims(f"iss {value!r}", "another issuer", iss=value)
        for value in (1, ["https://id.example"], {}):
            self.claims(f"iss {value!r}", "(iss) is malformed", iss=value)
        self.claims("no iss", "another issuer", iss=None)
        for value in (1, [], {}, ["ann"], False):
            self.claims(f"sub {value!r}", "(sub) is malformed", sub=value)
        self.claims("no sub", "", "ok", sub=None)

    def grants(self):
        """Names that the test knows: it looks at what they grant."""
        cases = {
            "viewer": {}, "viewer again": {"sub": "bob", "exp": NOW + 50}, "viewer south": {"site": "south"},
            "order": {"roles": ["writer", "viewer"]}, "order again": {"roles": "viewer writer"}, "nobody": {"roles": ["ghost", 1, {}, "viewer2"]},
            "no roles": {"roles": None}, "roles a number": {"roles": 7}, "roles an object": {"roles": {"viewer": True}},
            "integer": {"site": 7}, "list": {"site": ["a", "b", 3]},
            "mixed": {"site": ["ok", "#", "+", "a/b", "", 1.5, True, None, ["x"], {"y": 1}, "a+", "#a", 4]},
            "hash": {"site": "#"}, "plus": {"site": "+"}, "slash": {"site": "a/b"}, "empty": {"site": ""}, "float": {"site": 1.5},
            "bool": {"site": True}, "object": {"site": {"a": "b"}}, "none": {"site": None}, "in words": {"site": "a#b"},
            "dollar": {"site": "$SYS"}, "braces": {"site": "{claims.sub}"}, "huge list": {"site": list(range(800))},
            "nested": {"roles": ["nested"], "org": {"site": "deep"}}, "dotted name": {"roles": ["nested"], "org.site": "flat"},
            "leading": {"roles": ["leading"], "site": "$SYS"}, "leading fine": {"roles": ["leading"]},
            "product": {"roles": ["product"], "a": ["1", "2"], "b": ["x", "y"]},
            "product huge": {"roles": ["product"], "a": list(range(400)), "b": list(range(400))},
            "history": {"roles": ["historian"]},
            "permissions": {"roles": [], "perm": {"subscribe": ["own/#", "bad/#/x", 7], "publish": "own/set", "fields": ["state"]}},
            "permissions history": {"roles": [], "perm": {"subscribe": ["own/#"], "history": ["own/h"], "fields": "x"}},
            "permissions blind": {"roles": [], "perm": {"subscribe": ["own/#"], "fields": [1]}},
            "permissions a text": {"roles": [], "perm": "own/#"},
        }
        for name, changed in cases.items():
            claims = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
            self.row("grants", name, "ok", hs(self.secret, {"alg": "HS256"}, claims))

    def rotation(self):
        self.row("url", "ed", "ok", jwt.encode(GOOD, self.ed, "EdDSA", {"kid": "ed"}))
        self.row("url", "ed2", "ok", jwt.encode(GOOD, self.ed2, "EdDSA", {"kid": "ed2"}))
        self.row("url", "oct", "unauthorized", jwt.encode(GOOD, self.secret, "HS256", {"kid": "oct"}))

    def everything(self):
        self.files()
        for part in (self.signatures, self.wrong_keys, self.algorithms, self.headers, self.shapes, self.bodies, self.times, self.parties,
                     self.grants, self.rotation):
            part()
        # 0x1e: no token has one, but some have blanks and line ends.
        (self.folder / "tokens.tsv").write_text("\x1e".join(self.rows))


Maker(pathlib.Path(sys.argv[1])).everything()
