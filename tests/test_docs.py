"""The pages: their links, their place in the site, and the site that is built of them."""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import yaml
from markdown_it import MarkdownIt

import ld4mrec
import support

ROOT = support.ROOT
PAGES = ["README.md", "CHANGELOG.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


class Tags(HTMLParser):
    """(tag, attributes) of every element of a text."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@cache
def parsed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return MarkdownIt("commonmark").enable("table").parse(text)


def inline(page):
    """(line of the page, token) of everything in its texts."""
    for token in parsed(page):
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or [token]:
            yield line, child


def links(page):
    """(line, target) of every link and image, those in HTML too."""
    for line, token in inline(page):
        for key in ("href", "src"):
            if key in token.attrs:
                yield line, token.attrs[key]
        if token.type in ("html_inline", "html_block"):
            for _, attrs in Tags(token.content).found:
                yield from ((line, attrs[key]) for key in ("href", "src", "srcset") if key in attrs)


@cache
def anchors(page):
    """The anchors that the headings of a page have, in the repository and in the site."""
    found = set()
    for token, content in pairwise(parsed(page)):
        if token.type == "heading_open":
            words = "".join(child.content for child in content.children)
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-"))
    return found


def broken(page):
    """The links of a page that lead nowhere, in words."""
    for line, target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        if not there.exists() or not there.is_relative_to(ROOT):
            yield f"{page}:{line} links {target}, and there is no such file"
        elif (
            anchor and there.suffix == ".md" and anchor not in anchors(str(there.relative_to(ROOT)))
        ):
            yield f"{page}:{line} links {target}, and there is no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert not list(broken(page))


def test_a_broken_link_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text('# One\n\n[x](no.md) [y](#two) [z](#one) <img src="no.png">\n')
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert list(broken("a.md")) == [
        "a.md:3 links no.md, and there is no such file",
        "a.md:3 links #two, and there is no such heading",
        "a.md:3 links no.png, and there is no such file",
    ]


# --- the site


def settings():
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def nav_pages(entries):
    """Every page of a nav, in its order."""
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from nav_pages(value) if isinstance(value, list) else [value]


def test_the_site_has_every_page_once():
    made = ["index.md", "changelog.md", *(f"notebooks/{name}.md" for name in NOTEBOOKS)]
    ours = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert sorted(nav_pages(settings()["nav"])) == sorted(ours + made)


def test_a_broken_page_stops_the_build():
    given = settings()
    assert given["strict"]
    assert {*given["validation"]["links"].values(), *given["validation"]["nav"].values()} == {
        "warn"
    }


def test_the_reference_has_every_public_name_once():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: ld4mrec\.(\w+)$", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(ld4mrec.__all__)


def test_what_the_reference_shows_has_a_docstring():
    assert [name for name in ld4mrec.__all__ if not getattr(ld4mrec, name).__doc__] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; strict: a broken link would end the build."""
    pytest.importorskip("mkdocs", reason="no mkdocs: pip install -c constraints.txt -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for tag, attrs in Tags(page.read_text(encoding="utf-8")).found:
            if tag == "a":
                continue
            for key in ("src", "href", "srcset", "data", "poster"):
                target = attrs.get(key) or ""
                elsewhere = re.match(r"(https?:)?//", target)
                assert not elsewhere, f"{page.name}: <{tag} {key}={target}>"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text())


@pytest.mark.slow
def test_the_site_shows_docstrings_and_what_notebooks_print(site):
    reference = (site / "reference.html").read_text(encoding="utf-8")
    assert "Run.recommend" in reference
    assert "Train and evaluate a model" in reference
    notebook = (site / "notebooks" / "first_steps.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in notebook
    assert '<a href="../api.html">' in notebook


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")
def test_the_search_works_without_a_server(site, tmp_path):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom"]
    address = f"{(site / 'index.html').as_uri()}?q=popularity"
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=120)
    found = re.search(r"(\d+) matching documents", done.stdout)
    assert found, done.stderr[-2000:]
    assert int(found[1]) > 3


# --- messages


def messages():
    """The messages that the page on troubleshooting quotes: the first cell of each row."""
    tokens = parsed("docs/troubleshooting.md")
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            first = tokens[at + 2].children
            yield from (part.content for part in first if part.type == "code_inline")


def said_by_the_code():
    """Every text in our code, with dots for what is put in."""
    texts = set()
    for path in (ROOT / "src" / "ld4mrec").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if isinstance(node, ast.JoinedStr):
                texts.add("".join(map(put_in, node.values)))
    return texts


def put_in(part):
    """A part of an f-string: its words, or dots; of a number with its noun the noun of many."""
    if isinstance(part, ast.Constant):
        return part.value
    call = part.value
    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "counted":
        _, one, *many = [getattr(word, "value", "") for word in call.args]
        return f"... {many[0] if many else one + 's'}"
    return "..."


def stands_in(message, text):
    """Whether the fixed words of a message follow each other in a text."""
    at = 0
    for piece in re.split(r"\.\.\.", message):
        at = text.find(piece.strip(), at)
        if at < 0:
            return False
        at += len(piece.strip())
    return True


def test_troubleshooting_quotes_what_the_code_says():
    texts = said_by_the_code()
    stale = [said for said in messages() if not any(stands_in(said, text) for text in texts)]
    assert not stale, f"docs/troubleshooting.md quotes what no code says: {stale}"


def test_troubleshooting_has_the_messages_that_people_meet():
    quoted = list(messages())
    assert len(quoted) > 60
    assert len(set(quoted)) == len(quoted)
    assert any("upper and lower case count" in message for message in quoted)


def test_a_stale_message_is_seen():
    assert stands_in("... has no column '...'; its", "...: ... has no column '...'; its columns")
    assert not stands_in("has no columns", "... has no column '...'")
    assert not stands_in("b ... a", "a ... b")


# --- the citation


def test_the_citation_parses_and_agrees():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    # what the format, version 1.2.0, requires
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
    paper = cited["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    for author in (*cited["authors"], *paper["authors"]):
        assert author.get("name") or {"family-names", "given-names"} <= set(author)
    assert cited["version"] == ld4mrec.__version__
    assert cited["license"] == "MIT"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["title"].replace("LD4MRec", "{LD4MRec}") in readme
    names = (f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    assert " and ".join(names) in readme
    assert f"{{{paper['year']}}}" in readme
    assert paper["identifiers"][0]["value"] in readme


def test_the_citation_is_of_the_paper_at_hand():
    text = ROOT.parent / "shared" / "paper" / "LD4MRec.txt"
    if not text.is_file():
        pytest.skip("the paper's text is not at hand")
    named, *_ = text.read_text(encoding="utf-8").splitlines()
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["preferred-citation"]
    assert paper["title"] in text.read_text(encoding="utf-8")
    given, family = re.search(r"\\fnm(\w+) \\sur(\w+)", named).groups()
    assert {"family-names": family, "given-names": given} in paper["authors"]
