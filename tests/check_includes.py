#!/usr/bin/env python3
"""Fails if an include goes against the direction of the arrows (docs/architecture.md).

    base <- config;  message <- {history, codec} <- hub <- {transport, web, mqtt} <- app

and if a library's header appears where it has no business.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BASE = {"alloc", "base64", "bucket", "buf", "clock", "cursor", "error", "histogram", "log", "notify", "pattern", "timer", "topic", "topic_tree", "units", "utf8"}
PUBLIC = {"error": "base", "buf": "base", "histogram": "base", "message": "message", "history": "history", "codec": "codec", "config": "config",
          "upstream": "hub", "identity": "hub", "auth": "hub", "session": "hub", "hub": "hub", "transport": "web", "protocol": "web", "query": "web"}

# What each part may include, besides itself.
ALLOWED = {
    "base": set(),
    "message": {"base"},
    "history": {"base", "message"},
    "codec": {"base", "message"},
    "config": {"base", "message", "history", "codec"},
    "hub": {"base", "message", "history", "codec", "config"},
    "mqtt": {"base", "message", "history", "codec", "config", "hub"},
    "auth": {"base", "message", "history", "codec", "config", "hub"},
    "web": {"base", "message", "history", "codec", "config", "hub"},
    "transport": {"base", "message", "history", "config", "hub", "web-seam"},
    "app": {"base", "message", "history", "codec", "config", "hub", "mqtt", "auth", "web", "web-seam", "transport", "app"},
}
LIBRARIES = {
    "yaml.h": ("gateway/config/",),
    "mosquitto.h": ("gateway/mqtt/",),
    "mqtt_protocol.h": ("gateway/mqtt/",),
    "libwebsockets.h": ("gateway/web/", "gateway/transport/"),
    "sqlite3.h": ("gateway/history/",),
    "liburing.h": ("gateway/web/ring.c",),
    "zlib.h": ("gateway/web/deflate.c",),
    "openssl/ssl.h": ("gateway/web/tls.c", "gateway/healthcheck.c"),
    "openssl/pem.h": ("gateway/web/tls.c", "gateway/config/pem.c"),
    "jansson.h": ("gateway/codec/", "gateway/web/protocol.c", "gateway/auth/"),
    "rhonabwy.h": ("gateway/auth/",),
    "curl/curl.h": ("gateway/auth/",),
    "gnutls/gnutls.h": ("gateway/auth/",),
    "gnutls/crypto.h": ("gateway/auth/",),
}


def part_of(path):
    """The part of a file, by its path from the root."""
    pieces = pathlib.PurePosixPath(path).parts
    stem = pathlib.PurePosixPath(path).stem
    if pieces[0] == "include":
        part = PUBLIC[stem]
        return "web-seam" if part == "web" else part
    if len(pieces) == 2:
        return "app"
    folder = pieces[1]
    if folder == "core":
        return "base" if stem in BASE else "message" if stem == "message" else "hub"
    return folder


def resolve(name):
    for candidate in ("include/" + name, "gateway/" + name):
        if (ROOT / candidate).exists():
            return candidate
    return None


def check(path, text):
    """The problems of one file."""
    problems = []
    part = part_of(path)
    allowed = ALLOWED["web" if part == "web-seam" else part]
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        name = found.group(2)
        if found.group(1) == "<":
            places = LIBRARIES.get(name)
            if places and not path.startswith(places):
                problems.append(f"{path}:{number}: <{name}> belongs in {', '.join(places)} only")
            continue
        target = resolve(name)
        if not target:
            problems.append(f"{path}:{number}: no such header: {name}")
            continue
        other = part_of(target)
        if part == "transport" and target.startswith("gateway/transport/"):
            problems.append(f"{path}:{number}: transports know nothing of one another: {name}")
        same = other == part or {other, part} == {"web", "web-seam"} or (part == "codec" and target.startswith("gateway/codec/"))
        # The trie and the patterns hash as messages do.
        hashing = part == "base" and target == "include/gateway/message.h"
        scanning = part == "web" and target == "gateway/codec/json_scan.h"
        if not (same or hashing or scanning or other in allowed):
            problems.append(f"{path}:{number}: {part} must not include {other}: {name}")
    return problems


def self_test():
    """The check must be able to fail."""
    planted = {
        "gateway/core/hub.c": '#include "mqtt/source.h"', "gateway/transport/ws.c": '#include "mqtt/routes.h"',
        "gateway/codec/auto.c": '#include "gateway/hub.h"', "gateway/core/topic.c": '#include "gateway/session.h"',
        "gateway/history/memory.c": '#include <mosquitto.h>', "gateway/config/tree.c": '#include "web/conn.h"',
        "gateway/web/conn.c": "#include <yaml.h>", "gateway/mqtt/source.c": '#include "web/server.h"',
        "gateway/core/keep.c": "#include <sqlite3.h>",
    }
    return [path for path, line in planted.items() if not check(path, line)]


def main():
    blind = self_test()
    for path in blind:
        print(f"the check does not see a wrong include planted in {path}")
    problems = []
    for folder in ("include", "gateway"):
        for file in sorted((ROOT / folder).rglob("*.[ch]")):
            problems += check(file.relative_to(ROOT).as_posix(), file.read_text())
    print("\n".join(problems))
    return 1 if problems or blind else 0


if __name__ == "__main__":
    sys.exit(main())
