#!/usr/bin/env python3
"""Fails if the code of a layer needs a symbol that a layer above it defines: the same order as check_includes.py, read by nm from the
objects of a build, where no declaration can hide a call upwards. There is no list of exceptions: what a lower layer needs from above is
given to it at run time.

check_symbols.py [BUILD]     default: build/release
"""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from check_includes import LEVEL, ROOT, part_of, wrong_part  # noqa: E402

EVERYWHERE = "base"  # the place of generated files: they hold data alone


def source_of(path):
    """The source of an object, from its path below the build folder: .../gateway.dir/gateway/hub/hub.c.o."""
    pieces = pathlib.PurePosixPath(path).parts
    return pathlib.PurePosixPath(*pieces[pieces.index("gateway.dir") + 1:])


def folder_of(path):
    """The layer of an object."""
    below = source_of(path).parts
    return below[1] if below[0] == "gateway" else EVERYWHERE


def symbols(objects):
    """What each object defines and what it needs."""
    done = subprocess.run(["nm", "--print-file-name", "--extern-only", "--portability", *objects], capture_output=True, text=True, check=True)
    defined, needed = {}, []
    for line in done.stdout.splitlines():
        path, _, rest = line.partition(": ")
        name, kind = rest.split()[:2]
        if kind in "UVWvw":
            needed.append((path, name))
        else:
            defined[name] = path
    return defined, needed


def problems(defined, needed):
    """One line for each symbol that is needed from above."""
    found = []
    for path, name in needed:
        if name not in defined or defined[name] == path:
            continue
        here, there = folder_of(path), folder_of(defined[name])
        if here not in LEVEL or there not in LEVEL:
            found.append(f"{path}: no layer is named {here if here not in LEVEL else there}: add it to tests/check_includes.py")
        elif LEVEL[here] == LEVEL[there] == LEVEL["transport"] and (here != there or here == "transport"):
            found.append(f"{pathlib.PurePosixPath(path).stem}: a transport must not need {name} of another one")
        elif LEVEL[there] > LEVEL[here]:
            found.append(f"{here}/{pathlib.PurePosixPath(path).stem}: {here} must not need {name}() of {there}, which is above it")
        elif wrong := wrong_part(part_of(source_of(path)), part_of(source_of(defined[name]))):
            found.append(f"{source_of(path)}: {wrong}: {name}()")
    return sorted(found)


def blind():
    """What a planted fault does not bring up: the check must be able to fail."""
    place = "build/CMakeFiles/gateway.dir/gateway/{}.c.o".format
    defined = {name: place(file) for name, file in (("up", "hub/hub"), ("down", "base/buf"), ("beside", "transport/ws"), ("part", "hub/session/round"))}
    planted = [(place("topic/topic"), "up"), (place("transport/raw"), "beside"), (place("socketio/packet"), "beside"), (place("new/file"), "down"),
               (place("hub/channel/ties"), "part"), (place("hub/new/file"), "part")]
    good = [(place("hub/keep"), "up"), (place("mqtt/source"), "up"), (place("hub/keep"), "down"), (place("hub/keep"), "malloc"),
            (place("hub/windows/join"), "part"), (place("hub/hub"), "part")]
    missed = [name for need in planted if not problems(defined, [need]) for name in need[1:]]
    return missed + problems(defined, good)


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release")
    objects = sorted(map(str, build.glob("CMakeFiles/gateway.dir/**/*.o")))
    sources = {file.relative_to(ROOT).as_posix() for file in (ROOT / "gateway").glob("*/**/*.c")}
    objects = [path for path in objects if path.split("gateway.dir/", 1)[1].removesuffix(".o") in sources or "/gateway.dir/gateway/" not in path]
    if len(objects) < len(sources):
        print(f"{build}: {len(objects)} objects of {len(sources)} files: build it first (./dev build)")
        return 1
    found = [f"the check does not see: {what}" for what in blind()] + problems(*symbols(objects))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
