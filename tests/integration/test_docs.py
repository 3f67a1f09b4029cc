"""The documents say what is so: links lead somewhere, configurations are valid, names exist, tables are those of the source."""
import os
import re
import subprocess
from xml.etree import ElementTree

import pytest
import yaml as pyyaml
from conftest import yaml
from documents import FILES, Document, document
from harness import BINARY, ROOT
from tlsfiles import certificate

IDS = [str(path.relative_to(ROOT)) for path in FILES]
NO_METRICS = {"sluice_client", "sluice_token"}  # a Python module; a cookie
SOURCES = sorted((ROOT / "gateway").rglob("*.c")) + sorted((ROOT / "gateway").rglob("*.h"))


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_links_lead_somewhere(path):
    broken = []
    for line, target in Document(path).links():
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in Document(file).anchors()):
            broken.append(f"{path.relative_to(ROOT)}:{line}: {target}")
    assert not broken, broken


def test_the_reading_of_documents(tmp_path):
    text = "# A `b` c: (d)\n## Twice\n## Twice\n[x](y.md#z) `[no](no)`\n```yaml compose\n# no heading\n[no](no)\n```\n## T\n| a | b |\n| - | - |\n| `1` | 2 |\n"
    (tmp_path / "x.md").write_text(text)
    read = Document(tmp_path / "x.md")
    assert read.anchors() == {"a-b-c-d", "twice", "twice-1", "t"} and list(read.links()) == [(4, "y.md#z")]
    assert (read.blocks[0].language, read.blocks[0].words, read.blocks[0].heading) == ("yaml", ["compose"], "Twice")
    assert read.table("T") == [["`1`", "2"]]


def test_lines_are_short():
    """One sentence a line, so that a change shows what it changes: nothing above 200 characters outside of tables and code."""
    others = [path for folder in ("docker", "gateway", "packaging", "python", "tests") for path in (ROOT / folder).rglob("*.md") if "node_modules" not in path.parts]
    long = [f"{path.relative_to(ROOT)}:{number}: {len(line)}" for path in [*FILES, *sorted(others)] for number, line in Document(path).prose
            if len(line) > 200 and not line.lstrip().startswith("|")]
    assert len(others) >= 12 and not long, long


# --- configurations -----------------------------------------------------------------------------------------------------


class Files:
    """Stands in for the files that configurations name."""

    def __init__(self, directory):
        cert, key = certificate(directory, "docs")
        public = directory / "public.pem"
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
        secret, jwks = directory / "secret", directory / "jwks.json"
        secret.write_text("s" * 64)
        jwks.write_text('{"keys":[]}')
        self.by_key = {"cert_file": cert, "ca_file": cert, "key_file": key, "password_file": secret, "secret_file": secret, "jwks_file": jwks}
        self.public = public

    def named(self, node, parent=""):
        """(path in the configuration, file) for everything that names a file."""
        if isinstance(node, list):
            for item in node:
                yield from self.named(item, parent)
        for key, value in node.items() if isinstance(node, dict) else ():
            if key in self.by_key:
                yield value, self.public if parent == "jwt" and key == "key_file" else self.by_key[key]
            yield from self.named(value, key)

    def put_in(self, text):
        for name, file in dict(self.named(pyyaml.safe_load(text))).items():
            text = text.replace(name, str(file))
        return text.replace("/var/lib/sluice/", f"{self.public.parent}/")


def check(text, directory):
    names = set(re.findall(r"(?<!\$)\$\{(\w+)\}", text))
    environment = dict(os.environ, **{name: "sha256:" + "0" * 64 if "HASH" in name else "x" for name in names})
    (directory / "block.yaml").write_text(text)
    return subprocess.run([BINARY, "check", str(directory / "block.yaml")], capture_output=True, text=True, timeout=30, env=environment)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_configurations_pass_the_check(path, tmp_path):
    """Blocks `yaml` without another word. Whole ones as they are; of others what is missing is put before them."""
    files = Files(tmp_path)
    for block in Document(path).blocks:
        if block.language != "yaml" or block.words:
            continue
        there = pyyaml.safe_load(block.text)
        assert isinstance(there, dict), f"{path}:{block.line}: no mapping (another language? then say it behind yaml)"
        missing = {"broker": "broker: { url: mqtt://127.0.0.1 }\n", "routes": 'routes: [{ topic: "#", publish: {} }]\n'}
        text = "".join(more for key, more in missing.items() if key not in there) + files.put_in(block.text)
        checked = check(text, tmp_path)
        assert checked.returncode == 0, f"{path.relative_to(ROOT)}:{block.line}:\n{checked.stderr}"


def test_a_wrong_configuration_would_be_found(tmp_path):
    assert check("broker: { url: mqtt://127.0.0.1 }\nroutes: [{ topic: a, chanel: b }]\n", tmp_path).returncode == 2


# --- names and tables ---------------------------------------------------------------------------------------------------


def test_metrics_exist(world):
    gateway = world.sluice(yaml(world.broker().port))
    text = gateway.get("/metrics").text
    families = {name: kind for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)}
    names = set(families) | {name + end for name, kind in families.items() if kind == "histogram" for end in ("_bucket", "_sum", "_count")}
    unknown = [f"{path.name}: {name}" for path in FILES for name in re.findall(r"\b(?:sluice|process)_[a-z0-9_]+\b", Document(path).whole())
               if name.startswith(("sluice_", "process_cpu", "process_open", "process_max", "process_res")) and name not in names | NO_METRICS
               and "CHANGELOG" not in path.name]
    assert not unknown, unknown
    short = {name for row in document("docs/architecture.md").table("Bounds") for name in re.findall(r"`(\w+)`", row[3])}
    assert len(short) > 8 and {"sluice_" + name for name in short} <= names, {"sluice_" + name for name in short} - names
    undocumented = {name for name in families if name.startswith("sluice_")} - set(re.findall(r"`(sluice_\w+)`", document("docs/operations.md").whole()))
    assert not undocumented, undocumented


def error_table():
    source = (ROOT / "gateway/base/error.c").read_text()
    rows = re.findall(r'\{"(\w+)", (\d+), (\d+), "[^"]*"\}', source)
    assert len(rows) == len(re.findall(r'\[GW_\w+\] = \{"', source))
    return {code: (status, close) for code, status, close in rows if code != "ok"}


def test_the_table_of_errors_is_that_of_the_source():
    told = {code: (row[1], row[2]) for row in document("docs/protocol.md").table("Errors") for code in re.findall(r"`(\w+)`", row[0])}
    assert told == error_table()


def test_close_codes_are_those_of_the_source():
    text = "".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r"\b(?:gw_ws_close|ws_fail)\([\w>.-]+, (\d{4})\b", text)) | set(re.findall(r"return -(1\d{3});", text))
    used |= {close for _, close in error_table().values()}
    rows = document("docs/protocol.md").table("Close codes of WebSockets")
    told = {row[0]: row[1] for row in rows}
    assert {"1001", "1002", "4401"} <= used <= set(told), used - set(told)
    spare = {code for code, meaning in told.items() if code not in used}
    assert all("not sent" in told[code] or "client's own code" in told[code] for code in spare), spare


def literals():
    """The texts in the source of the gateway, adjacent ones joined, conversions of printf as a mark."""
    found = []
    for path in SOURCES:
        for run in re.findall(r'"(?:\\.|[^"\\])*"(?:\s*(?:PRI\w+\s*)?"(?:\\.|[^"\\])*")*', path.read_text()):
            run = re.sub(r'"\s*PRI\w+\s*"', "d", run)
            text = "".join(re.findall(r'"((?:\\.|[^"\\])*)"', run)).replace('\\"', '"')
            found.append(re.sub(r"%[-+ #0-9.*]*(?:hh|h|ll|l|z|j)?[a-zA-Z]", "…", text))
    return found


def lines_of_trouble():
    """The formats of all warnings and errors in the source, with the pieces between what varies."""
    for path in SOURCES:
        for call in re.findall(r"GW_LOG_(?:WARN|ERROR)\b([^;]*);", path.read_text()):
            texts = re.findall(r'"((?:\\.|[^"\\])*)"', call)
            text = "".join(texts[1:] if len(texts) > 1 and re.fullmatch("[a-z]+", texts[0]) else texts)
            pieces = [piece.strip(" :',.();") for piece in re.split(r"%[-+ #0-9.*]*(?:hh|h|ll|l|z|j)?[a-zA-Z]", text)]
            pieces = [piece for piece in pieces if len(piece) > 8]
            if pieces:
                yield path.name, text, pieces


def test_every_line_of_trouble_has_a_row():
    """Operators find what a warning or an error means: docs/operations.md quotes it."""
    told = " ".join((ROOT / "docs/operations.md").read_text("utf-8").split())
    lines = list(lines_of_trouble())
    missing = [(name, text) for name, text, pieces in lines if not any(piece[:38] in told for piece in pieces)]
    assert len(lines) > 70 and not missing, missing


def test_what_is_quoted_of_the_log_is_said():
    """In the table of symptoms: what stands in backticks behind the word log is a text of the source, … for what varies."""
    rows = document("docs/operations.md").table("By symptom")
    assert len(rows) >= 20 and all(len(row) == 4 and all(row) for row in rows), [row for row in rows if len(row) != 4 or not all(row)]
    quotes = [quote for row in rows for part in re.findall(r"log:((?: (?:or )?`[^`]+`)+)", row[1]) for quote in re.findall(r"`([^`]+)`", part)]
    said = literals()
    missing = [quote for quote in quotes
               if not any(re.search("…?.*?".join(re.escape(piece.strip()) for piece in quote.split("…") if piece.strip()), text) for text in said)]
    assert len(quotes) >= 12 and not missing, missing


def test_pictures_are_small_and_whole():
    pictures = [path for path in (ROOT / "docs/images").iterdir()]
    for path in pictures:
        assert path.stat().st_size < 300_000, path
        if path.suffix == ".svg":
            ElementTree.parse(path)
    tour = (ROOT / "docs/images/tour.svg").read_text()
    assert tour.count("data:image/webp;base64,") == tour.count("<animate ") == 5
