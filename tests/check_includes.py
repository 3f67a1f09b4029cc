#!/usr/bin/env python3
"""Fails if an include points up the layers, or if a library's header is included outside its folder.

The layers are the folders of gateway/, lowest first. A file may include its own layer and the ones below it.
Folders on one line form one layer. The folders inside hub/ have an order too; what is in hub/ itself belongs to all of them.
Each public header in include/gateway/ belongs to one folder, and includes public ones only.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAYERS = [
    ["base"],
    ["topic"],
    ["message"],
    ["codec"],
    ["transform"],
    ["engine"],
    ["config"],
    ["route"],
    ["auth"],
    ["hub"],
    ["mqtt"],
    ["net"],
    ["http"],
    ["websocket"],
    ["transport", "mqttd", "socketio"],
    ["app"],
]
PARTS = {"hub": [["channel"], ["series"], ["publish"], ["session", "windows"]]}
LEVEL = {folder: level for level, folders in enumerate(LAYERS) for folder in folders}
# A transport is one file of transport/, or a folder of its own.
TRANSPORTS = {"transport", "mqttd", "socketio"}
# What those in a folder of their own include beside public headers (docs/architecture.md says why).
TRANSPORTS_SHARE = {"base/base64.h", "base/json_scan.h", "base/units.h", "message/cursor.h", "auth/encode.h"}
# Pure functions, with fuzz targets.
PURE = r"gateway/mqttd/(packet|properties|reader|write)\."
PUBLIC = {
    "base": ["alloc", "bucket", "buf", "clock", "container", "error", "hash", "histogram", "list", "log", "options", "random",
             "table", "timer", "utf8"],
    "topic": ["capture", "topic"],
    "message": ["media", "message", "properties"],
    "codec": ["codec", "series"],
    "transform": ["transform"],
    "engine": ["engine", "history"],
    "config": ["config"],
    "auth": ["auth", "identity"],
    "hub": ["hub", "mail", "presence", "session", "session_log", "shared", "upstream"],
    "http": ["protocol", "query", "transport"],
    "app": ["builtins"],
}
LIBRARIES = {
    "yaml.h": ("gateway/config/",),
    "mosquitto.h": ("gateway/mqtt/",),
    "mqtt_protocol.h": ("gateway/mqtt/",),
    "libwebsockets.h": ("gateway/net/loop.c",),
    "sqlite3.h": ("gateway/engine/",),
    "hiredis.h": ("gateway/engine/",),
    "liburing.h": ("gateway/net/ring.c",),
    "zlib.h": ("gateway/websocket/deflate.c",),
    "openssl/ssl.h": ("gateway/net/tls.c", "gateway/net/tls_conn.c", "gateway/mqtt/tls.c", "gateway/mqtt/stream.c", "gateway/base/tls_peer.c", "gateway/engine/resp.c", "gateway/engine/valkey.c", "gateway/app/healthcheck.c"),
    "openssl/pem.h": ("gateway/net/tls.c", "gateway/config/pem.c"),
    "jansson.h": ("gateway/codec/", "gateway/http/protocol.c", "gateway/auth/", "gateway/app/http_client.c"),
    "rhonabwy.h": ("gateway/auth/",),
    "curl/curl.h": ("gateway/auth/", "gateway/app/http_client.c"),
    "gnutls/gnutls.h": ("gateway/auth/",),
    "gnutls/crypto.h": ("gateway/auth/",),
}


def folder_of(path):
    """The folder to which a file belongs, from its path below the root."""
    pieces = pathlib.PurePosixPath(path).parts
    stem = pathlib.PurePosixPath(path).stem
    if pieces[0] == "include":
        return next((folder for folder, headers in PUBLIC.items() if stem in headers), None)
    return "app" if len(pieces) == 2 else pieces[1]


def part_of(path):
    """The layer and the folder inside it, of a file that is in one of PARTS."""
    pieces = pathlib.PurePosixPath(path).parts
    return pieces[1:3] if len(pieces) == 4 and pieces[0] == "gateway" and pieces[1] in PARTS else None


def wrong_part(here, there):
    """What is wrong if a file of the first part needs one of the second; None: nothing."""
    if not here or not there or here[0] != there[0]:
        return None
    level = {part: level for level, parts in enumerate(PARTS[here[0]]) for part in parts}
    unknown = next((part for part in (here[1], there[1]) if part not in level), None)
    if unknown:
        return f"{here[0]}/{unknown} has no place among PARTS in tests/check_includes.py"
    return f"{'/'.join(here)} must not need {'/'.join(there)}, which is above it" if level[there[1]] > level[here[1]] else None


def resolve(name):
    for candidate in ("include/" + name, "gateway/" + name):
        if (ROOT / candidate).exists():
            return candidate
    return None


def check(path, text):
    """The problems of one file."""
    folder = folder_of(path)
    if folder not in LEVEL:
        return [f"{path}: this file has no layer: add it to tests/check_includes.py"]
    problems = []
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
        if path.startswith("include/") and not target.startswith("include/"):
            problems.append(f"{path}:{number}: a public header must not include a private one: {name}")
        other = folder_of(target)
        if other not in LEVEL:
            problems.append(f"{target}: this file has no layer: add it to tests/check_includes.py")
        elif {folder, other} <= TRANSPORTS and (folder == "transport" or folder != other):
            problems.append(f"{path}:{number}: a transport must not include another one: {name}")
        elif folder == "transport" and not target.startswith("include/"):
            problems.append(f"{path}:{number}: a transport includes public headers alone: {name}")
        elif folder in TRANSPORTS and folder != other and not target.startswith("include/") and name not in TRANSPORTS_SHARE:
            problems.append(f"{path}:{number}: a transport includes public headers and a few small ones: {name}")
        elif re.match(PURE, path) and other not in ("base", "topic", "mqttd") and name != "gateway/properties.h":
            problems.append(f"{path}:{number}: packets know neither sessions nor connections: {name}")
        elif LEVEL[other] > LEVEL[folder]:
            problems.append(f"{path}:{number}: {folder} must not include {other}, which is above it: {name}")
        elif wrong := wrong_part(part_of(path), part_of(target)):
            problems.append(f"{path}:{number}: {wrong}: {name}")
    return problems


def self_test():
    """The check must be able to fail."""
    planted = {
        "gateway/hub/hub.c": '#include "mqtt/source.h"',
        "gateway/hub/channel/ties.c": '#include "hub/session/queue.h"',
        "gateway/hub/publish/confirm.c": '#include "hub/windows/windows.h"',
        "gateway/hub/new/file.c": '#include "hub/channel/channel.h"',
        "gateway/transport/ws.c": '#include "transport/ws.h"',
        "gateway/transport/sse.c": '#include "mqttd/packet.h"',
        "gateway/transport/raw.c": '#include "mqtt/source.h"',
        "gateway/transport/poll.c": '#include "hub/inbox.h"',
        "gateway/transport/longpoll.c": '#include "socketio/packet.h"',
        "gateway/socketio/engine.c": '#include "mqttd/packet.h"',
        "gateway/socketio/sockets.c": '#include "hub/hub_private.h"',
        "gateway/mqttd/transport.c": '#include "net/sock.h"',
        "gateway/mqttd/packet.c": '#include "gateway/session.h"',
        "gateway/codec/auto.c": '#include "gateway/hub.h"',
        "gateway/topic/topic.c": '#include "gateway/session.h"',
        "gateway/base/buf.c": '#include "gateway/message.h"',
        "gateway/engine/memory.c": "#include <mosquitto.h>",
        "gateway/config/tree.c": '#include "http/conn.h"',
        "gateway/http/conn.c": "#include <yaml.h>",
        "gateway/mqtt/source.c": '#include "net/server.h"',
        "gateway/net/sock.c": '#include "http/conn.h"',
        "gateway/net/listener.c": '#include "gateway/transport.h"',
        "gateway/http/api.c": '#include "websocket/wsconn.h"',
        "gateway/hub/keep.c": "#include <sqlite3.h>",
        "gateway/new/file.c": "",
        "include/gateway/session.h": '#include "base/alloc.h"',
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
