"""Hooks of mkdocs: pages made from docstrings and from the glossary, and links that leave ``docs/``.

- One page for each environment family, from its class docstring, with the film of ``docs/environments/films``.
- ``<!-- glossary: SECTION -->`` in a page becomes the table of that section of :mod:`waker.analysis.glossary`.
- ``<!-- settings: CLASS -->`` becomes the table of a configuration class's settings.
- A link ``[Family](…/file.py)`` to the file of a family's class, which a clone has, leads to that family's page.
- ``tutorial.ipynb`` becomes the page ``tutorial.md``, outputs included, and so do links to it.
- ``changelog.md`` and ``contributing.md`` are the files of the repository's root.
- A link from a page to a file outside ``docs/`` (a row of ``results/``, a script) leads to a copy of that file in the
  site, or to its page if it is Markdown, so that the same link works in the repository and in the site.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "envs"), str(ROOT / "scripts")]

import docs_roles  # noqa: E402
import run_notebook  # noqa: E402
from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files, InclusionLevel  # noqa: E402
from mkdocs.structure.pages import Page  # noqa: E402

from waker.analysis import glossary  # noqa: E402
from waker.config import schema  # noqa: E402
from waker_envs.registry import BUILT_IN  # noqa: E402

FAMILIES = "environments"
TUTORIAL = "tutorial"
ROOT_PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
REPOSITORY = "files"
"""Folder of the site for copies of files from outside ``docs/``."""
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(?=[)\s])")
_PICTURE = re.compile(r"^!\[[^]]*\]\(([^)\s]+\.png)\)$", re.M)
"""A figure by itself: it becomes a link to itself, so that it can be enlarged on a small screen."""
_CELL = re.compile(r"<t([dh])\b.*?</t\1>", re.S)
_CODE = re.compile(r"(?<=<code>)[^<\n]+(?=</code>)")
"""Code within a line; blocks of code have a mark or a new line in them."""
_JOINT = re.compile(r"(?<=[\w;])[_/.](?=[a-zA-Z_&])")
"""Where a name has a joint: ``curriculum/entropy``, ``worst_regret``, ``explorer.target``."""
_WHOLE = re.compile(r"(?<![\w-])(--[\w]+|[\w.]+-[\w.]+(?=[\s,]|$))")
"""An option's beginning, and a name with one hyphen."""
_SHORT = 8
"""Characters of a name that fits into a line whatever it stands in."""
_MARK = re.compile(r"^<!-- (glossary|settings): (\w+) -->$", re.M)
_FAMILY = re.compile(r"\[(\w+)\]\(([^)\s#]+\.py)\)")


# Environment pages --------------------------------------------------------------------------------------------------


def families() -> dict[str, tuple[type, list[str]]]:
    """Family name → its class and registered ids, in the registry's order."""
    found: dict[str, tuple[type, list[str]]] = {}
    for env_id, entry_point in BUILT_IN.items():
        module, name = entry_point.split(":")
        cls = getattr(importlib.import_module(module), name)
        found.setdefault(name, (cls, []))[1].append(env_id)
    return found


def families_linked(markdown: str, src_uri: str) -> str:
    """Links to the files of families' classes as links to their pages."""
    folder, here = _folder(src_uri), posixpath.dirname(src_uri)

    def linked(match: re.Match[str]) -> str:
        name, path = match[1], _repository_path(match[2], folder)
        if path is None or name not in families() or path != _source(families()[name][0]):
            return match[0]
        return f"[{name}]({posixpath.relpath(f'{FAMILIES}/{name.lower()}.md', here or '.')})"

    return _FAMILY.sub(linked, markdown)


def _source(cls: type) -> str:
    """The file of a class, from the repository's root; of a class made by a function, that of its name."""
    return f"envs/{cls.__module__.replace('.', '/')}.py"


def family_page(name: str, cls: type, ids: list[str]) -> str:
    """The page of a family: its film, how to run it, and its docstring."""
    film = f"films/{name.lower()}.gif"
    doc = docs_roles.linked(inspect.getdoc(cls) or "")
    parts = [f"# {name}", ", ".join(f"`{i}`" for i in ids)]
    if (ROOT / "docs" / FAMILIES / film).is_file():
        parts.append(f"![Random actions in {name}, θ from easy to hard]({film}){{ .film }}")
    parts += ["\n".join(_readable(doc.splitlines()))]
    parts += ["## Try it", f"```bash\nwaker envs {name}\nwaker train --env {name}\n```"]
    return "\n\n".join(parts) + "\n"


def _readable(lines: list[str]) -> Iterator[str]:
    """Google-style argument lists as Markdown lists, and lists apart from the paragraph before them."""
    before = ""
    section = False
    for line in lines:
        if line in ("Args:", "Raises:"):
            section = True
            yield from (["", "**Raises**", ""] if line == "Raises:" else [""])
            continue
        if section and (entry := re.match(r"    ([\w.]+): (.*)", line)):
            line = f"- `{entry[1]}`: {entry[2]}"
        elif section and line.startswith("        "):
            line = f"    {line.strip()}"
        elif line.startswith("- ") and before.strip() and not before.startswith(("- ", "  ")):
            yield ""
        yield line
        before = line


# Tables -------------------------------------------------------------------------------------------------------------


def glossary_table(section: str) -> str:
    """The entries of a section of the glossary."""
    rows = [f"| `{e.name}` | {_cell(e.meaning)} | {e.unit} |" for e in glossary.section(section)]
    return "\n".join(["| name | meaning | unit |", "| --- | --- | --- |", *rows])


def settings_table(class_name: str) -> str:
    """The settings of a configuration class, their defaults and docstrings."""
    tree = ast.parse(inspect.getsource(getattr(schema, class_name))).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows, pending = [], None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            pending = node
        elif pending is not None and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            rows.append(_setting(pending, str(node.value.value)))
            pending = None
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def _setting(node: ast.AnnAssign, doc: str) -> str:
    name, default = ast.unparse(node.target), ast.unparse(node.value) if node.value else ""
    default = {"field(default_factory=dict)": "{}", "LONGEST": str(schema.LONGEST)}.get(default, default)
    kind = ast.unparse(node.annotation)
    literal = re.search(r"Literal\[([^]]+)\]", kind)
    named = ", ".join(f"`{choice}`" for choice in re.findall(r"'([^']+)'", literal[1] if literal else ""))
    choices = f" One of {named}." if named else ""
    return f"| `{name.strip('_').replace('_', '-')}` | `{default}` | {_cell(doc)}{choices} |"


def _cell(text: str) -> str:
    return " ".join(docs_roles.plain(text).split()).replace("|", "\\|").replace("``", "`")


# Events -------------------------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The families' pages in the navigation."""
    pages = [f"{FAMILIES}/index.md", *(f"{FAMILIES}/{name.lower()}.md" for name in families())]
    for entry in config.nav or []:
        if isinstance(entry, dict) and entry.get("Environments") == f"{FAMILIES}/":
            entry["Environments"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generated pages, and copies of what pages link to outside ``docs/``."""
    for name, (cls, ids) in families().items():
        files.append(File.generated(config, f"{FAMILIES}/{name.lower()}.md", content=family_page(name, cls, ids)))
    for name, source in ROOT_PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    notebook = run_notebook.read(ROOT / "docs" / f"{TUTORIAL}.ipynb")
    files.append(File.generated(config, f"{TUTORIAL}.md", content=run_notebook.page(notebook)))
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:  # a copied page may link to others
        page = waiting.pop()
        for target in _outside(families_linked(page.content_string, page.src_uri), _folder(page.src_uri)):
            uri = _site_uri(target)
            if files.get_file_from_path(uri) is None:
                copy = File.generated(config, uri, abs_src_path=str(ROOT / target), inclusion=InclusionLevel.NOT_IN_NAV)
                files.append(copy)
                if copy.is_documentation_page():
                    waiting.append(copy)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tables where they are asked for; links to copies, and to the notebook's page."""
    tables = {"glossary": glossary_table, "settings": settings_table}
    markdown = families_linked(_MARK.sub(lambda m: tables[m[1]](m[2]), markdown), page.file.src_uri)
    folder, here = _folder(page.file.src_uri), posixpath.dirname(page.file.src_uri)

    def rewritten(match: re.Match[str]) -> str:
        if match[2] == f"{TUTORIAL}.ipynb":
            return f"{match[1]}{TUTORIAL}.md"
        target = _repository_path(match[2], folder)
        if target is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(_site_uri(target), here or '.')}{match[3] or ''}"

    return _PICTURE.sub(r"[\g<0>](\g<1>)", _LINK.sub(rewritten, markdown))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Names in tables may break at their joints, so that a phone shows their meaning beside them; options and short
    names do not break at their hyphens."""
    html = _CELL.sub(lambda cell: _CODE.sub(lambda name: _JOINT.sub(r"\g<0><wbr>", _unbroken(name[0])), cell[0]), html)
    return _CODE.sub(lambda name: _unbroken(name[0]), html)


def on_post_build(*, config: MkDocsConfig) -> None:
    """No page of the theme for addresses that do not exist: it finds its style only at the root of a server."""
    Path(config.site_dir, "404.html").unlink(missing_ok=True)


def _unbroken(code: str) -> str:
    def marked(name: re.Match[str]) -> str:
        short = name[0].startswith("--") or len(name[0]) <= _SHORT
        return f'<span class="whole">{name[0]}</span>' if short else name[0]

    return _WHOLE.sub(marked, code)


def _folder(src_uri: str) -> str:
    """The repository's folder that links of a page are relative to."""
    if src_uri in ROOT_PAGES:
        return ""
    if src_uri.startswith(f"{REPOSITORY}/"):
        return posixpath.dirname(src_uri.removeprefix(f"{REPOSITORY}/"))
    return posixpath.join("docs", posixpath.dirname(src_uri))


def _repository_path(link: str, folder: str) -> str | None:
    """The file that a link names, from the repository's root, if it lies outside ``docs/`` (or the page does)."""
    if re.match(r"[a-z]+:", link):
        return None
    path = posixpath.normpath(posixpath.join(folder, link))
    outside = folder != "docs" and not folder.startswith("docs/")
    if path.startswith("..") or (path.startswith("docs/") and not outside) or not (ROOT / path).is_file():
        return None
    return path


def _site_uri(path: str) -> str:
    """Where the site has a file of the repository."""
    for page, source in ROOT_PAGES.items():
        if path == source:
            return page
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{REPOSITORY}/{path}"


def _outside(markdown: str, folder: str) -> list[str]:
    found = (_repository_path(match[2], folder) for match in _LINK.finditer(markdown))
    return [path for path in found if path is not None and not path.startswith("docs/") and os.path.isfile(ROOT / path)]
