#!/usr/bin/env python3
"""The parts of documents that come out of the binary's tables: of fields (gateway/config/tables*.c) and of commands (gateway/app/command.c).

Without an argument it fails if one of them is not current; with --write it makes them so: ./dev generate.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = os.environ.get("SLUICE_BINARY", str(ROOT / "build/release/sluice"))


def say(*args):
    return subprocess.run([BINARY, *args], check=True, capture_output=True, text=True, timeout=30).stdout


def between(text, begin, end, new):
    """`text` with what stands between the two marker lines replaced."""
    pattern = re.compile(rf"(^{re.escape(begin)}\n).*?(^{re.escape(end)}$)", re.S | re.M)
    if len(pattern.findall(text)) != 1:
        raise SystemExit(f"one '{begin}' and one '{end}' expected")
    return pattern.sub(lambda found: found.group(1) + new + found.group(2), text)


def wanted():
    """Path and content of each file that has such a part."""
    yield ROOT / "config/sluice.schema.json", say("schema")
    for shell, name in (("bash", "sluice.bash"), ("zsh", "_sluice"), ("fish", "sluice.fish")):
        yield ROOT / "packaging/completions" / name, say("completion", shell)
    path = ROOT / "docs/configuration.md"
    yield path, between(path.read_text(), "<!-- made by ./dev generate, from here -->", "<!-- to here -->", say("reference"))
    path = ROOT / "docs/man/sluice.yaml.5"
    yield path, between(path.read_text(), '.\\" made by ./dev generate, from here', '.\\" to here', say("reference", "--man"))


def main():
    stale = []
    for path, text in wanted():
        if path.exists() and path.read_text() == text:
            continue
        if sys.argv[1:] == ["--write"]:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
        else:
            stale.append(path.relative_to(ROOT).as_posix())
    if stale:
        print(f"not what the binary's tables say: {', '.join(stale)}; run ./dev generate")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
