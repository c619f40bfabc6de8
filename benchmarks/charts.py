"""The charts of docs/: bars of the tables in benchmarks.md and schedules.md. `make docs` draws them."""

from html import escape
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
WIDTH, BAR = 480, 8
COLOURS = ["#9aa5b1", "#5b8def", "#137752"]
TOO_MUCH = "#c2410c"


def main() -> None:
    """Draw both."""
    for name, draw in CHARTS.items():
        page = (DOCS / name).with_suffix(".md").read_text("utf-8")
        (DOCS / name).write_text(draw(page), encoding="utf-8")


def rows_of(page: str) -> list[list[str]]:
    """Return the cells of a page's table as they are read, without its heads."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    marks = str.maketrans("", "", "`*%")
    return [[cell.strip() for cell in line.translate(marks).split("|")[1:-1]] for line in lines[2:]]


def ratios(page: str) -> str:
    """Draw the ratios, each with its limit."""
    groups = []
    for what, ratio, limit, _ in rows_of(page):
        value, most = float(ratio), float(limit.split()[0])
        bar = (value, f"{value:.2f} of {most:.2f}", TOO_MUCH if value > most else COLOURS[2])
        groups.append((what, [bar], most))
    legend = [("within its limit, the line", COLOURS[2]), ("more", TOO_MUCH)]
    return drawing("What a person waits for, as a ratio of two times", legend, groups, 2)


def shares(page: str) -> str:
    """Draw in how many seeds each race shows, by each kind of schedule."""
    kinds = ["shuffled", "by priority", "the guard's"]
    groups = [
        (race, [(float(n), f"{n} %", c) for n, c in zip(found, COLOURS, strict=True)], 0.0)
        for race, _, _, *found in rows_of(page)
    ]
    return drawing(
        "In how many seeds a race shows", [*zip(kinds, COLOURS, strict=True)], groups, 100
    )


def drawing(
    title: str,
    legend: list[tuple[str, str]],
    groups: list[tuple[str, list[tuple[float, str, str]], float]],
    full: float,
) -> str:
    """Return groups of bars, of a value, a text and a colour, and where the line of each group stands."""
    x: float
    parts, y = [f'<text x="8" y="20" font-weight="600">{escape(title)}</text>'], 30
    for number, (name, colour) in enumerate(legend):
        x = 8 + 170 * number
        parts.append(f'<rect x="{x}" y="{y + 2}" width="10" height="10" fill="{colour}" />')
        parts.append(f'<text x="{x + 14}" y="{y + 11}">{escape(name)}</text>')
    y += 28
    scale = (WIDTH - 100) / full
    for label, bars, line in groups:
        parts.append(f'<text x="8" y="{y + 9}">{escape(label)}</text>')
        y += 14
        top = y
        for value, text, colour in bars:
            width = max(value * scale, 1)
            parts.append(
                f'<rect x="8" y="{y}" width="{width:.0f}" height="{BAR}" fill="{colour}" />'
            )
            x = 14 + max(width, line * scale)
            parts.append(f'<text x="{x:.0f}" y="{y + 8}" font-size="9">{text}</text>')
            y += BAR + 1
        if line:
            x = 8 + line * scale
            parts.append(f'<path d="M{x:.0f} {top - 2}v{y - top + 3}" stroke="#111827" />')
        y += 8
    head = (
        f'<svg viewBox="0 0 {WIDTH} {y}" role="img" xmlns="http://www.w3.org/2000/svg" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#111827">\n'
        f"<title>{escape(title)}</title>\n"
        '<rect width="100%" height="100%" rx="6" fill="#f8fafc" />'
    )
    return "\n".join([head, *parts, "</svg>", ""])


CHARTS = {"benchmarks.svg": ratios, "schedules.svg": shares}


if __name__ == "__main__":
    main()
