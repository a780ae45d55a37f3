"""Run a notebook's cells and store what they print: ``python scripts/run_notebook.py docs/tutorial.ipynb``.

A small part of Jupyter, without a kernel, so that the documentation needs no further package: cells run in one
namespace, in a folder of their own; what is printed, the value of a last expression and its picture are kept. Of
IPython's own syntax there are ``%%writefile NAME`` and lines ``!waker …``, which run in this process. Whoever opens the
notebook in Jupyter sees the same cells.

Called by ``make tutorial``, by ``tests/test_tutorial.py`` and, for its pages, by ``scripts/docs_hooks.py``.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import html
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Cell = dict[str, Any]
COLUMNS = 100
"""Width of what is printed, in characters."""
PARAMETERS = "parameters"
"""The tag of the cell whose values a caller may replace."""


class CellError(Exception):
    """A command of a cell ended with another exit code than 0."""


def read(path: Path) -> dict[str, Any]:
    """The notebook, format 4."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def source(cell: Mapping[str, Any]) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def run(notebook: Mapping[str, Any], folder: Path, parameters: Mapping[str, Any] | None = None) -> list[list[Cell]]:
    """Run every code cell in order.

    Args:
        notebook: see :func:`read`.
        folder: the working directory, which is on the path of imports too.
        parameters: values to set after the cell tagged ``parameters``.

    Returns:
        For each code cell its outputs, as the notebook format has them.

    Raises:
        CellError: a ``!waker`` command failed.
        Exception: what a cell raises.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found = []
    with _inside(folder):
        for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
            found.append(_run_cell(source(cell), namespace, len(found) + 1))
            if PARAMETERS in cell["metadata"].get("tags", ()):
                namespace.update(parameters or {})
    return found


def with_outputs(notebook: Mapping[str, Any], outputs: list[list[Cell]]) -> dict[str, Any]:
    """The notebook with these outputs in place of its own."""
    cells, made = [], iter(enumerate(outputs, 1))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number, shown = next(made)
            cell = {**cell, "execution_count": number, "outputs": shown}
        cells.append(cell)
    return {**notebook, "cells": cells}


def text_of(outputs: list[Cell]) -> str:
    """What a cell printed, and the text of its value."""
    parts = [o["text"] if o["output_type"] == "stream" else o["data"].get("text/plain", "") for o in outputs]
    return "\n".join("".join(part) for part in parts)


def page(notebook: Mapping[str, Any]) -> str:
    """The notebook as Markdown, outputs included."""
    parts = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append(source(cell))
            continue
        parts.append(f"```python\n{source(cell)}\n```")
        parts += [_shown(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _shown(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f'<pre class="output">{html.escape("".join(output["text"]))}</pre>'
    data = output["data"]
    if "image/png" in data:
        return f'<img alt="output of the cell above" src="data:image/png;base64,{"".join(data["image/png"])}">'
    return f'<pre class="output">{html.escape("".join(data["text/plain"]))}</pre>'


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, columns = Path.cwd(), os.environ.get("COLUMNS")
    os.chdir(folder)
    os.environ["COLUMNS"] = str(COLUMNS)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _run_cell(text: str, namespace: dict[str, Any], number: int) -> list[Cell]:
    if magic := re.match(r"%%writefile (\S+)\n", text):
        Path(magic[1]).write_text(text[magic.end() :] + "\n", encoding="utf-8")
        return [_stream(f"Writing {magic[1]}\n")]
    namespace["_command"] = _command
    lines = [f"_command({line[1:]!r})" if line.startswith("!") else line for line in text.splitlines()]
    tree = ast.parse("\n".join(lines), f"cell {number}")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
    shown = [_stream(printed.getvalue())] if printed.getvalue() else []
    return shown if value is None or text.rstrip().endswith(";") else [*shown, _result(value, number)]


def _command(line: str) -> None:
    """``waker …`` in this process.

    Raises:
        CellError: it failed; its message is on stderr.
    """
    from waker.cli import main

    name, *words = shlex.split(line)
    if name != "waker" or (code := main(words)) != 0:
        raise CellError(f"{line}: " + ("no command of ours" if name != "waker" else f"exit code {code}"))


def _stream(text: str) -> Cell:
    here = f"{os.getcwd()}/"  # a reader's folder is another
    lines = [line.rstrip().replace(here, "") for line in text.splitlines()]
    return {"output_type": "stream", "name": "stdout", "text": [f"{line}\n" for line in lines]}


def _result(value: Any, number: int) -> Cell:
    """A value as Jupyter shows it: a picture where it is one, and text."""
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))  # another at every run
    data: dict[str, Any] = {"text/plain": text.splitlines(keepends=True)}
    if (draw := getattr(value, "_repr_png_", None)) is not None and (png := draw()):
        data["image/png"] = base64.b64encode(png).decode()
    return {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}


def main(path: str) -> None:
    """Run a notebook in a new folder and write its outputs into it."""
    notebook = read(Path(path))
    with tempfile.TemporaryDirectory() as folder:
        made = with_outputs(notebook, run(notebook, Path(folder)))
    Path(path).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
