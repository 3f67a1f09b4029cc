#!/usr/bin/env python3
"""Fails if a header offers a function that nobody calls: neither the gateway nor a test."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def code(file):
    """Its lines without comments and texts."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', " ", file.read_text(), flags=re.S).splitlines()


def offered(lines):
    """Functions are declared, or written out as inline ones, at the beginning of a line."""
    return {name for line in lines if re.match(r"[a-z]", line) for name in re.findall(r"\b(gw_\w+)\(", line)[:1]}


def used(lines):
    """Names in bodies, in tables and in what a macro stands for."""
    return {name for line in lines if re.match(r"[\s#]", line) or " = " in line for name in re.findall(r"\bgw_\w+\b", line)}


def uncalled(headers, sources):
    names = set().union(*map(offered, headers))
    return sorted(names - set().union(*map(used, headers + sources)))


def main():
    # The check must be able to fail, and must see calls.
    planted = ["void gw_forgotten(int x);", "void gw_called(void);", "static inline int gw_inline(void)", "void gw_listed(void);"]
    caller = ["void gw_called(void)", "    gw_called();", "static void (*const table[])(void) = {gw_listed};"]
    if uncalled([planted], [caller]) != ["gw_forgotten", "gw_inline"]:
        print("the check does not see a function without callers")
        return 1
    headers = [code(file) for folder in ("include", "gateway") for file in sorted((ROOT / folder).rglob("*.h"))]
    sources = [code(file) for folder in ("gateway", "tests") for file in sorted((ROOT / folder).rglob("*.c")) if "node_modules" not in file.parts]
    left = uncalled(headers, sources)
    for name in left:
        print(f"{name}() stands in a header, and nobody calls it")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
