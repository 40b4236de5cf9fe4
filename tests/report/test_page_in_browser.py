"""The page in a real browser: Debian's chromium, headless, served by this process, which therefore
sees every request.
"""

import functools
import html
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

import example_report
from ld4mrec.report import palette
from ld4mrec.report.writing import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--window-size=1600,1000"),
)
FRAMES = {"light": (1400, "light"), "dark": (1400, "dark"), "phone": (390, "light")}
# A page beside the report that looks into it: the report is as a reader gets it.
LOOK = """<!DOCTYPE html><link rel="icon" href="data:,"><title>look</title>
%(frames)s
<img id="alone" src="figures/recall.svg">
<script>
function look(frame) {
  const view = frame.contentWindow, page = frame.contentDocument;
  const box = (element) => {
    const {left, right, top, bottom, width, height} = element.getBoundingClientRect();
    return {left, right: Math.max(right, left), top, bottom, width, height};
  };
  const all = (selector, root = page) => [...root.querySelectorAll(selector)];
  const colour = (element, key) => view.getComputedStyle(element)[key];
  const rows = (table) => all("tbody tr", table).map((row) => row.cells[0].textContent);
  const seen = {
    title: page.title,
    width: view.innerWidth,
    page_width: page.documentElement.scrollWidth,
    loaded: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    paper: colour(page.body, "backgroundColor"),
    ink: colour(page.body, "color"),
    figure_ink: [...new Set(all("figure text.fill-ink").map((text) => colour(text, "fill")))],
    figures: all("figure").map((figure) => ({
      svg: box(figure.querySelector("svg")),
      scroll: box(figure.querySelector(".scroll")),
      texts: all("text", figure).map((text) => ({text: text.textContent, ...box(text)})),
    })),
    tables: all(".table").map((shown) => ({
      scroll: box(shown.querySelector(".scroll")), table: box(shown.querySelector("table")),
      caption: box(shown.querySelector("caption span")),
      spreads: all("tbody tr", shown).map((row) =>
        all("td", row).map((cell) => all(".spread", cell).map((spread) => box(spread).left)[0])),
    })),
    buttons: all("thead button").length, heads: all("thead th").length,
  };
  const table = page.querySelector("table"), head = table.tHead.rows[0].cells[2];
  seen.sorted = [[null, rows(table)]];
  for (let click = 0; click < 3; click++) {
    head.querySelector("button").click();
    seen.sorted.push([head.getAttribute("aria-sort"), rows(table)]);
  }
  table.tHead.rows[0].cells[0].querySelector("button").click();
  seen.by_name = rows(table);
  return seen;
}
addEventListener("load", () => {
  const seen = {alone: document.getElementById("alone").naturalWidth};
  for (const frame of document.querySelectorAll("iframe")) seen[frame.id] = look(frame);
  const found = document.createElement("pre");
  found.id = "seen";
  found.textContent = JSON.stringify(seen);
  document.body.replaceChildren(found);
});
</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium"),
]


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send_head(self):
        self.server.requests.append(self.path)
        return super().send_head()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(the folder of the example report, the server that shows it)"""
    folder = tmp_path_factory.mktemp("served")
    write_report(folder, example_report.report())
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, server
        server.shutdown()


def browse(served, page, tmp_path):
    """What the browser makes of a page: (its DOM, lines of its console, paths it asked for)."""
    _, server = served
    server.requests.clear()
    process = subprocess.Popen(
        [
            *(BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}"),
            *("--dump-dom", f"http://127.0.0.1:{server.server_port}/{page}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        dom, log = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, log[-2000:]
    console = [line.split("CONSOLE", 1)[1] for line in log.splitlines() if "CONSOLE" in line]
    return dom, console, sorted(set(server.requests))


@pytest.fixture(scope="module")
def seen(served, tmp_path_factory):
    """What look() saw in every frame; nothing but the report may have been asked for."""
    frames = "\n".join(
        f'<iframe id="{name}" src="report.html" width="{width}" height="900" '
        f'style="color-scheme: {scheme}"></iframe>'
        for name, (width, scheme) in FRAMES.items()
    )
    (served[0] / "look.html").write_text(LOOK % {"frames": frames}, encoding="utf-8")
    dom, console, requests = browse(served, "look.html", tmp_path_factory.mktemp("browser"))
    assert console == []
    assert requests == ["/figures/recall.svg", "/look.html", "/report.html"]
    return json.loads(html.unescape(re.search('<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1]))


def rgb(colour):
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.mark.parametrize("frame", FRAMES)
def test_the_page_loads_nothing_and_fits_its_window(seen, frame):
    page = seen[frame]
    assert page["title"] == "Eight models on toy & <tiktok>"
    assert page["loaded"] == []
    assert page["width"] == FRAMES[frame][0]
    assert page["page_width"] <= page["width"]  # no scrolling sideways


@pytest.mark.parametrize("frame", FRAMES)
def test_every_figure_is_in_the_page_with_all_its_texts(seen, frame):
    page = seen[frame]
    assert len(page["figures"]) == 4
    below = 0
    for figure in page["figures"]:
        svg, scroll = figure["svg"], figure["scroll"]
        assert svg["width"] >= 540
        assert svg["height"] > 150
        assert svg["top"] > below
        below = svg["bottom"]
        assert scroll["left"] >= 0
        assert scroll["right"] <= page["width"]
        if frame != "phone":
            assert svg["right"] <= scroll["right"] + 1
        assert len(figure["texts"]) > 10
        for text in figure["texts"]:
            assert text["width"] > 0, text
            assert svg["left"] - 1 <= text["left"] <= text["right"] <= svg["right"] + 1, text
            assert svg["top"] - 1 <= text["top"] <= text["bottom"] <= svg["bottom"] + 1, text


@pytest.mark.parametrize("frame", FRAMES)
def test_tables_scroll_inside_the_page_and_numbers_stand_in_line(seen, frame):
    page = seen[frame]
    assert len(page["tables"]) == 4
    for table in page["tables"]:
        assert table["scroll"]["right"] <= page["width"]
        assert table["caption"]["right"] <= table["scroll"]["right"] + 1
        assert table["table"]["height"] > 100
        for column in zip(*table["spreads"], strict=True):
            places = [place for place in column if place is not None]
            assert not places or max(places) - min(places) < 0.5


def test_light_and_dark(seen):
    for frame, theme in {"light": palette.LIGHT, "dark": palette.DARK}.items():
        assert seen[frame]["paper"] == rgb(theme["paper"])
        assert seen[frame]["ink"] == rgb(theme["ink"])
        assert seen[frame]["figure_ink"] == [rgb(theme["ink"])]


def test_a_figures_file_is_a_picture(seen):
    assert seen["alone"] > 500


def test_columns_can_be_sorted(seen):
    page = seen["light"]
    assert page["buttons"] == page["heads"] > 0
    original = ["EASE", *example_report.MODELS]
    by_recall = sorted(example_report.MODELS, key=lambda name: -example_report.MODELS[name][0])
    assert page["sorted"] == [
        [None, original],
        ["descending", [*by_recall, "EASE"]],
        ["ascending", [*reversed(by_recall), "EASE"]],
        [None, original],
    ]
    assert page["by_name"] == sorted(original, key=str.lower)


def test_the_pages_policy_stops_what_would_load_or_run(served, tmp_path):
    folder, _ = served
    text = (folder / "report.html").read_text(encoding="utf-8")
    addition = (
        '<script>document.title = "taken"</script><script src="x.js"></script>'
        '<p id="p" style="color: red" onclick="">x</p><img src="x.png">'
    )
    assert text.count("</main>") == 1
    (folder / "evil.html").write_text(text.replace("</main>", f"{addition}</main>"))
    dom, console, requests = browse(served, "evil.html", tmp_path)
    assert requests == ["/evil.html"]
    assert len(console) >= 4  # so an error or a refused request does appear there
    assert all("Content Security Policy" in line for line in console)
    assert "<title>Eight models" in dom
