"""Plots as SVG text, on axes that are logarithmic: what is compared here differs by factors."""
import math
from xml.sax.saxutils import escape

COLORS = ["#1f4e8c", "#c2410c", "#2f7d32", "#7b3fa0", "#8a6d00", "#0f766e", "#b02a5b", "#555555"]
STYLE = "font-family:system-ui,sans-serif;font-size:13px;fill:#1a1a1a"


def number(value):
    if value >= 1000:
        return f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


class Axis:
    """Maps values to places between two ends, by their logarithm; ticks at 1, 2 and 5 or only at powers of ten."""

    def __init__(self, values, begin, end):
        low, high = min(values), max(values)
        self.low, self.high = low * 0.8, high * 1.25
        self.begin, self.end = begin, end
        decades = math.log10(self.high / self.low)
        steps = (1, 2, 5) if decades < 2.5 else (1,)
        self.ticks = [step * 10.0 ** power for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                      for step in steps if self.low <= step * 10.0 ** power <= self.high]

    def at(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + share * (self.end - self.begin)


def text(x, y, words, anchor="start", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(words)}</text>'


def line(x1, y1, x2, y2, color="#dddddd", width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def page(width, height, title, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(title)}" style="{STYLE}">')
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, background, text(16, 26, title, extra='style="font-weight:600;font-size:15px"'), *parts, "</svg>"]) + "\n"


def legend(names, x, y):
    parts = []
    for index, name in enumerate(names):
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{COLORS[index % len(COLORS)]}"/>')
        parts.append(text(x + 10, y, name))
        x += 30 + 7.2 * len(name)
    return parts


def dots(title, rows, series):
    """A row for each label, in it a line with a dot and its value for each series: rows = [(label, [value or None])]."""
    left, right, top, inner = 300, 870, 74, 14
    step = inner * len(series) + 12
    bottom = top + step * len(rows)
    found = [value for _, values in rows for value in values if value]
    if not found:
        return None
    axis = Axis(found, left, right - 40)
    parts = legend(series, left, 50)
    for tick in axis.ticks:
        parts += [line(axis.at(tick), top - 8, axis.at(tick), bottom), text(axis.at(tick), bottom + 18, number(tick), "middle")]
    for index, (label, values) in enumerate(rows):
        y = top + step * index
        parts += [text(left - 14, y + step / 2 + 4, label, "end"), line(16, y + step, right, y + step, "#eeeeee")]
        for which, value in enumerate(values):
            if not value:
                continue
            x, middle, color = axis.at(value), y + 6 + inner * (which + 0.5), COLORS[which % len(COLORS)]
            parts += [f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4.5" fill="{color}"/>',
                      text(x + 9, middle + 4, number(value), extra=f'style="font-size:11px;fill:{color}"')]
    return page(right + 20, bottom + 34, title, parts)


def curves(title, x_title, curves_by_name):
    """{name: [(x, y)]}; names at the right ends of their lines."""
    left, right, top, bottom = 70, 600, 50, 400
    found = {name: points for name, points in curves_by_name.items() if len(points) > 1}
    if not found:
        return None
    across = Axis([x for points in found.values() for x, _ in points], left, right)
    across.ticks = sorted({x for points in found.values() for x, _ in points})
    up = Axis([y for points in found.values() for _, y in points], bottom, top)
    parts = []
    for tick in up.ticks:
        parts += [line(left, up.at(tick), right, up.at(tick)), text(left - 8, up.at(tick) + 4, number(tick), "end")]
    for tick in across.ticks:
        parts += [line(across.at(tick), top, across.at(tick), bottom), text(across.at(tick), bottom + 18, f"{tick:,}", "middle")]
    parts.append(text((left + right) / 2, bottom + 40, x_title, "middle"))
    taken = []
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(found)}
    for name, points in sorted(found.items(), key=lambda item: -item[1][-1][1]):
        color = colors[name]
        places = [(across.at(x), up.at(y)) for x, y in points]
        parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (color, " ".join(f"{x:.1f},{y:.1f}" for x, y in places)))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in places]
        y = max([places[-1][1] + 4] + [other + 16 for other in taken])
        taken = [y]
        parts += [line(places[-1][0] + 5, places[-1][1], right + 12, y - 4, color), text(right + 16, y, name, extra=f'style="fill:{color}"')]
    return page(right + 270, max(bottom + 56, int(max(taken, default=0)) + 20), title, parts)
