"""Renders the part of Helm's templates that packaging/helm uses: if, else, with, define, include and a few functions.

Anything else is an error, so a construct that is not understood can't pass unnoticed.
"""
import hashlib
import json
import re

import yaml

ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.S)
WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()|]|[^\s()|]+)')


class Failed(Exception):
    """The chart called fail."""


class Dumper(yaml.SafeDumper):
    """Lists are not indented further, as Go's encoder leaves them."""


def to_yaml(value):
    return yaml.dump(value, Dumper=Dumper, sort_keys=True, default_flow_style=False, width=10**6).rstrip("\n")


def fail(text):
    raise Failed(text)


FUNCTIONS = {
    "and": lambda *all: next((value for value in all[:-1] if not value), all[-1]),
    "or": lambda *all: next((value for value in all[:-1] if value), all[-1]),
    "not": lambda value: not value,
    "gt": lambda a, b: a > b,
    "int": int,
    "default": lambda other, value: value or other,
    "quote": lambda value: json.dumps(str(value)),
    "printf": lambda form, *values: form % values,
    "nindent": lambda count, text: "\n" + "\n".join(" " * count + line for line in text.split("\n")),
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "regexMatch": lambda pattern, text: bool(re.search(pattern, text)),
    "toYaml": to_yaml,
    "fail": fail,
}


class Templates:
    def __init__(self, texts):
        """`texts`: the templates by their file names. Those that are defined in any of them are known to all."""
        self.named = {}
        self.trees = {name: self._tree(text) for name, text in texts.items()}

    def render(self, name, root):
        return self._run(self.trees[name], root)

    def _tree(self, text):
        parts, at, trim = [], 0, False
        for match in ACTION.finditer(text):
            before = text[at:match.start()]
            before = before.lstrip() if trim else before
            parts += [before.rstrip() if match[1] else before, match[2].strip()]
            at, trim = match.end(), bool(match[3])
        parts.append(text[at:].lstrip() if trim else text[at:])
        nodes, rest = self._block(parts)
        assert not rest, "{{ end }} without a beginning"
        return nodes

    def _block(self, parts):
        """Nodes up to an end or else, and what follows it."""
        nodes = []
        while parts:
            nodes.append(("text", parts[0]))
            if len(parts) == 1:
                return nodes, []
            action, parts = parts[1], parts[2:]
            verb, _, rest = action.partition(" ")
            if verb in ("end", "else"):
                return nodes, [verb, *parts]
            if verb not in ("if", "with", "define"):
                nodes.append(("value", action))
                continue
            inside, parts = self._block(parts)
            other = []
            if parts[0] == "else":
                other, parts = self._block(parts[1:])
            assert parts[0] == "end", f"{{{{ {action} }}}} has no end"
            parts = parts[1:]
            if verb == "define":
                self.named[json.loads(rest)] = inside
            else:
                nodes.append((verb, rest, inside, other))
        return nodes, []

    def _run(self, nodes, dot):
        out = []
        for kind, text, *blocks in nodes:
            if kind == "text":
                out.append(text)
                continue
            value = self._value(text, dot)
            if kind == "value":
                out.append({True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value))
            else:
                out.append(self._run(blocks[0], value if kind == "with" else dot) if value else self._run(blocks[1], dot))
        return "".join(out)

    def _value(self, text, dot):
        words, at = [], 0
        while text[at:].strip():
            match = WORD.match(text, at)
            words.append(match[1])
            at = match.end()
        value = self._pipe(words, dot)
        assert not words, f"not understood: {text}"
        return value

    def _pipe(self, words, dot):
        """Takes commands joined by | off the words, up to their end or a closing bracket."""
        piped = ()
        while True:
            values, function = [], None
            while words and words[0] not in ("|", ")"):
                word = words.pop(0)
                if word == "(":
                    values.append(self._pipe(words, dot))
                    assert words.pop(0) == ")"
                elif word[0] in '".' or word.isdigit():
                    values.append(json.loads(word) if word[0] != "." else self._member(word, dot))
                else:
                    assert function is None and not values, f"not understood: {word}"
                    function = word
            values += piped
            if function == "include":
                value = self._run(self.named[values[0]], values[1])
            elif function:
                value = FUNCTIONS[function](*values)
            else:
                (value,) = values
            if not words or words[0] == ")":
                return value
            words.pop(0)
            piped = (value,)

    @staticmethod
    def _member(word, dot):
        for name in filter(None, word.split(".")):
            dot = dot[name]
        return dot
