"""The documentation site builds without a warning, and says only what is so. mkdocs is in the dev extra."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import waker
import waker.curriculum
import waker_envs
from tests.helpers.docs_site import built
from tests.helpers.pages import FENCE, PAGES, ROOT

TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
FOREIGN = ("Torch not compiled with CUDA enabled",)
"""Messages of other packages."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"))


@pytest.mark.slow
def test_the_site_builds_and_nothing_of_it_is_fetched(site: Path) -> None:
    pages = {str(page.relative_to(site)): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert len(pages) > 30
    for name, text in pages.items():
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\"> ]+)", text)
        fetched += re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preconnect|icon)[^>]+href=\"?(https?:[^\"> ]+)", text)
        assert not fetched, f"{name} fetches {fetched}"
        assert not re.search(r"\{\{ |<!-- (glossary|settings):", text), f"{name} has a mark that nothing replaced"
        assert not re.search(r":(class|func|meth|mod):`", text), f"{name} has a role that nothing replaced"
        assert "====" not in text, f"{name} has a table's border that nothing replaced"


@pytest.mark.slow
def test_every_public_name_has_its_documentation(site: Path) -> None:
    for page, package in (("environments", waker_envs), ("curriculum", waker.curriculum)):
        text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
        missing = [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in text]
        assert not missing, f"api/{page}.md lacks {missing}"
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    names = {*waker.__all__} - {"__version__"}
    missing = [name for name in names if f'id="{documented(name)}"' not in text]
    assert not missing, f"the pages of the API lack {missing}"


def documented(name: str) -> str:
    """What a public name of ``waker`` is called where it is documented."""
    if name == "register_curriculum":
        return "waker.curriculum.register_curriculum"
    public = getattr(waker, name)
    return "metrics" if name == "metrics" else f"{public.__module__}.{name}"


@pytest.mark.slow
def test_an_entry_for_several_attributes_names_them_all_and_their_type(site: Path) -> None:
    text = (site / "api" / "analysis.html").read_text(encoding="utf-8")
    entry = re.sub(r"<[^>]+>|\s+", " ", text[text.index("fitted,\u00a0judged</span>") :][:600])
    assert re.match(r"fitted, judged +\( *int *\)", entry), entry
    assert not re.search(r"<b><code>[^\n]*\w, ?</span></code>", text), "a name ends with a comma"


@pytest.mark.slow
def test_every_family_has_a_page_with_a_film(site: Path) -> None:
    pages = [page for page in (site / "environments").glob("*.html") if page.name != "index.html"]
    assert {page.stem for page in pages} >= {"gridhazards", "combined", "terrainwalker", "doorkey"}
    for page in pages:
        film = site / "environments" / "films" / f"{page.stem}.gif"
        assert film.is_file() and film.name in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_links_to_families_lead_to_their_pages_in_the_site(site: Path) -> None:
    for page, place in (("environments/index.html", ""), ("new-environment.html", "environments/")):
        text = (site / page).read_text(encoding="utf-8")
        assert f'href="{place}gridhazards.html"' in text
        assert "hazards.py" not in text
    assert not list((site / "files").rglob("hazards.py*"))


def links() -> list[tuple[Path, str]]:
    """Every relative link of the repository's Markdown, with its page and without its anchor."""
    found = []
    for page in [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "experiments").rglob("*.md"))]:
        prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
        found += [(page, link) for link in re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", prose)]
    return [(page, link) for page, link in found if not re.match(r"[a-z]+:", link)]


def test_no_relative_link_is_dead_in_a_clone() -> None:
    assert len(links()) > 100
    dead = [f"{page.relative_to(ROOT)}: {link}" for page, link in links() if not (page.parent / link).exists()]
    assert not dead


def test_pages_whose_tables_the_site_makes_say_so_first() -> None:
    made = [page for page in PAGES if re.search(r"^(<!-- (glossary|settings):|::: )", page.read_text("utf-8"), re.M)]
    assert len(made) >= 7
    for page in made:
        first = page.read_text(encoding="utf-8").split("\n\n")[1]
        assert first.startswith("The site has the") and "in a clone `" in first, page


def test_films_are_small() -> None:
    films = list((ROOT / "docs" / "environments" / "films").iterdir())
    assert films and sum(film.stat().st_size for film in films) < 2_000_000


def messages() -> list[str]:
    """What the first column of the troubleshooting page quotes."""
    cells = [line.split("|")[1] for line in TROUBLES.splitlines() if line.startswith("| `")]
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def said() -> str:
    """All text that the packages and the scripts can print, with an ellipsis for what is filled in."""
    found = [(ROOT / "scripts" / "make_venv.sh").read_text(encoding="utf-8")]
    for file in [*(ROOT / "waker").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_are_found() -> None:
    assert len(messages()) > 15


@pytest.mark.parametrize("message", [m for m in messages() if m not in FOREIGN])
def test_a_message_is_one_of_ours(message: str, said: str) -> None:
    """Each piece between what is filled in; a name in quotes is filled in, too, and the kind of what is unknown."""
    pieces = re.split(r"…|'[^']*'|EGL|make:|(?<=unknown) \w+", message)
    for piece in (piece.strip(" ;:?,") for piece in pieces):
        assert piece in said, f"nothing says {piece!r}"
