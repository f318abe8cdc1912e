"""The confusion table as a picture: a row for what a photo shows, a column for its first tag."""

from collections.abc import Sequence

from pawtag.domain.labels import NONE
from pawtag.inference.group_table import NO_TAG, LabelRow

CELL_PX, MARGIN_PX = 52, 92


def draw_confusion(rows: Sequence[LabelRow]) -> str:
    """An SVG document, for light and dark pages."""
    columns = [NO_TAG if row.label == NONE else row.label for row in rows]
    width, height = MARGIN_PX + CELL_PX * len(columns), MARGIN_PX + CELL_PX * len(rows)
    heads = [
        f'<text transform="translate({MARGIN_PX + CELL_PX * (index + 0.6):.0f},{MARGIN_PX - 8}) rotate(-45)">{name}</text>'
        for index, name in enumerate(columns)
    ]
    names = [
        f'<text x="{MARGIN_PX - 8}" y="{_middle(index)}" text-anchor="end">{row.label}</text>'
        for index, row in enumerate(rows)
    ]
    cells = [
        _draw_cell(row_index, index, _count(row, name, is_right=index == row_index), row.photos)
        for row_index, row in enumerate(rows)
        for index, name in enumerate(columns)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 40}" height="{height}" font-family="sans-serif" '
        'font-size="13" fill="#777">\n<title>What the photos show (rows) and their first tag (columns)</title>\n'
        + "\n".join([*heads, *names, *cells])
        + "\n</svg>\n"
    )


def _count(row: LabelRow, name: str, *, is_right: bool) -> int:
    return row.right if is_right else row.instead[name]


def _draw_cell(row: int, column: int, count: int, total: int) -> str:
    left, top = MARGIN_PX + CELL_PX * column, MARGIN_PX + CELL_PX * row
    colour = "#2a7f62" if row == column else "#c0392b"
    share = count / total
    box = f'<rect x="{left}" y="{top}" width="{CELL_PX - 2}" height="{CELL_PX - 2}" fill="{colour}" fill-opacity="{0.06 + 0.94 * share:.2f}"/>'
    if not count:
        return box
    ink = "#fff" if share > 1 / 3 else "#777"
    middle = left + CELL_PX / 2 - 1
    return f'{box}<text x="{middle:.0f}" y="{_middle(row)}" text-anchor="middle" fill="{ink}">{count}</text>'


def _middle(row: int) -> int:
    return round(MARGIN_PX + CELL_PX * (row + 0.5) + 4)
