"""Reads the documents: headings, links, fenced blocks. A block's info string is `language words…`; people see the language only."""
import dataclasses
import re

from harness import ROOT

FILES = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "client/README.md",
                                        "packaging/helm/README.md")] + sorted((ROOT / "docs").rglob("*.md"))


@dataclasses.dataclass
class Block:
    language: str
    words: list
    text: str
    line: int
    heading: str


class Document:
    def __init__(self, path):
        self.path = path
        self.blocks, self.headings, self.prose = [], [], []  # prose: (line number, text outside of blocks)
        fence, lines = None, []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            opened = re.match(r"\s*(`{3,})\s*(.*)", line)
            if fence is None and opened:
                fence, info, lines, begin = opened.group(1), opened.group(2).split(), [], number
            elif fence is not None and line.strip() == fence:
                language, words = (info[0], info[1:]) if info else ("", [])
                self.blocks.append(Block(language, words, "\n".join(lines) + "\n", begin, self.headings[-1] if self.headings else ""))
                fence = None
            elif fence is not None:
                lines.append(line)
            else:
                self.prose.append((number, line))
                if heading := re.match(r"#{1,6} (.*)", line):
                    self.headings.append(heading.group(1).strip())
        assert fence is None, f"{path}: a block that is not closed"

    def anchors(self):
        """As GitHub makes them."""
        found = []
        for heading in self.headings:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{sum(f == slug or re.fullmatch(re.escape(slug) + r'-[0-9]+', f) is not None for f in found)}")
        return set(found)

    def links(self):
        for number, line in self.prose:
            bare = re.sub(r"`[^`]*`", "", line)
            for target in re.findall(r"\]\(([^)\s]+)\)", bare) + re.findall(r"(?:src|href)=\"([^\"]+)\"", bare):
                yield number, target

    def section(self, heading):
        """The lines of prose under that heading, up to the next of any level."""
        inside = False
        for _, line in self.prose:
            if found := re.match(r"#{1,6} (.*)", line):
                inside = found.group(1).strip() == heading
            elif inside:
                yield line

    def table(self, heading):
        """Rows of the first table under the heading, its own two left out; cells without blanks around them."""
        rows = [line for line in self.section(heading) if line.startswith("|")]
        assert len(rows) > 2, f"{self.path}: no table under {heading}"
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]

    def whole(self):
        return self.path.read_text()


def document(name):
    return Document(ROOT / name)
