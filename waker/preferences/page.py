"""A page on which a person answers queries: pairs of film strips, keys and buttons, and answers as a CSV file.

One HTML file that needs no other file and no network. Its CSV has the columns of :mod:`waker.preferences.table`.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.preferences.table import COLUMNS
from waker.storage.files import write_text

_HERE = Path(__file__).parent
_GAP = 6
"""Pixels between two frames of a strip."""


class Strip(NamedTuple):
    """One segment as a film strip.

    Attributes:
        frames: the states t … t+L, (L+1, height, width, 3) uint8.
        ended: whether the episode ended by itself in the last one.
    """

    frames: NDArray[np.uint8]
    ended: bool


def write_page(path: Path, frame: pd.DataFrame, strips: Sequence[tuple[Strip, Strip]], title: str, name: str) -> None:
    """Write the page of some queries.

    Args:
        frame: their rows, (n).
        strips: both segments of each.
        title: what the page is called.
        name: of the CSV that it saves.

    Raises:
        OSError: it could not be written.
    """
    rows = json.loads(frame[list(COLUMNS)].to_json(orient="records", double_precision=15))
    for row in rows:
        row["score_1"] = row["score_2"] = None  # the truth, where a teacher wrote it: not for who answers
    queries = [
        {"row": [row[column] for column in COLUMNS], "strips": [_shown(strip) for strip in pair]}
        for row, pair in zip(rows, strips, strict=True)
    ]
    data = {"columns": list(COLUMNS), "queries": queries, "name": name}
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_HERE), autoescape=True)
    # In a script element nothing is escaped, so no "</script>" may stand there; in JSON "<" has another spelling.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    write_text(path, environment.get_template("page.html").render(title=title, data=text))


def _shown(strip: Strip) -> dict[str, str | bool | int]:
    image = base64.b64encode(png(film_strip(strip.frames))).decode()
    return {"image": f"data:image/png;base64,{image}", "ended": strip.ended, "steps": len(strip.frames) - 1}


def film_strip(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T, height, width, 3) side by side on white."""
    padded = np.pad(frames, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=255)
    count, height, width, _ = padded.shape
    return padded.transpose(1, 0, 2, 3).reshape(height, count * width, 3)[:, :-_GAP]


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (height, width, 3) as a PNG file (the format's second edition, filter 0 in every line)."""
    height, width, _ = picture.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, width * 3)], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
