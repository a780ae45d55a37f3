"""In a browser every page of the documentation is as wide as its window, a phone's and a desktop's."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.docs_site import built

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

MEASURE = """<body><pre id="found"></pre><script>
const pages = PAGES, found = {};
const clipped = (e, view) => { for (let p = e.parentElement; p.tagName !== "ARTICLE"; p = p.parentElement)
  if (view.getComputedStyle(p).overflowX !== "visible") return true; };
function measure(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, article = page.querySelector("article");
  const edge = Math.min(page.documentElement.clientWidth, article.getBoundingClientRect().right + 24) + 1;
  const wide = [...article.querySelectorAll("*")].filter(
    e => e.getBoundingClientRect().right > edge && e.getBoundingClientRect().width && !clipped(e, view));
  const broken = [...page.images].filter(image => image.complete && !image.naturalWidth);
  return {width: page.documentElement.scrollWidth, bad: [...wide, ...broken].map(e => e.outerHTML.slice(0, 200))};
}
function next(at) {
  if (at === pages.length) { document.getElementById("found").textContent = JSON.stringify(found); return; }
  const frame = document.createElement("iframe");
  Object.assign(frame, {width: WIDTH, height: 844, src: pages[at]});
  frame.style.border = 0;
  frame.onload = () => { found[pages[at]] = measure(frame); frame.remove(); next(at + 1); };
  document.body.append(frame);
}
next(0);
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"))


def measured(site: Path, width: int, profile: Path) -> dict[str, dict[str, object]]:
    """Page → its width in a frame, and what reaches beyond its column or is a picture that cannot be shown."""
    pages = sorted(str(page.relative_to(site)) for page in site.rglob("*.html") if page.name != "measure.html")
    measure = site / "measure.html"
    measure.write_text(MEASURE.replace("PAGES", json.dumps(pages)).replace("WIDTH", str(width)), encoding="utf-8")
    browser = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options = ["--allow-file-access-from-files", f"--user-data-dir={profile}", "--virtual-time-budget=200000"]
    done = subprocess.run(
        [*browser, *options, "--dump-dom", measure.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    found: dict[str, dict[str, object]] = json.loads(
        html.unescape(done.stdout.split('<pre id="found">')[1].split("</pre>")[0])
    )
    assert list(found) == pages
    return found


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(site: Path, tmp_path: Path, width: int) -> None:
    found = measured(site, width, tmp_path)
    assert len(found) > 45
    bad = {page: told for page, told in found.items() if told["width"] != width or told["bad"]}
    assert not bad


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_what_is_too_wide_is_found(site: Path, tmp_path: Path) -> None:
    style = site / "style.css"
    kept = style.read_text(encoding="utf-8")
    try:
        style.write_text(kept + ".md-typeset p > code { white-space: nowrap; }", encoding="utf-8")
        found = measured(site, 390, tmp_path)
    finally:
        style.write_text(kept, encoding="utf-8")
    assert any("<code" in str(told["bad"]) for told in found.values())
