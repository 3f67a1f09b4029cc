"""Certificates for the tests, made by openssl when they are needed, and what is listened on."""
import re
import subprocess


def certificate(directory, name, key="ec", days=30):
    """cert and key files of a self-signed certificate for localhost."""
    cert, private = directory / f"{name}.pem", directory / f"{name}.key"
    kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", str(days), "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(private), "-out", str(cert)],
                   check=True, capture_output=True)
    return cert, private


def common_name(port):
    """Of the certificate that a new handshake gets."""
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}"], input=b"", capture_output=True, timeout=15)
    return re.search(r"subject=CN ?= ?(\S+)", shown.stdout.decode()).group(1)


def ports(gateway):
    """Of the TCP listeners, in the order of the file."""
    return [int(port) for port in re.findall(r"listening on \S+:(\d+),", gateway.text())]


def with_listeners(text, listeners):
    """The configuration with these further entries under listen:."""
    return text.replace("routes:\n", listeners + "routes:\n", 1)
