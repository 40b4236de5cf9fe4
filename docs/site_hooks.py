"""What MkDocs needs to read our pages as they are: a hook of mkdocs.yml.

Pages are written for the repository. README.md becomes the first page, CHANGELOG.md and the
notebooks become pages, and links between them are turned to where the site has them. A link to a
file that is no page, such as a folder of runs, becomes its words.
"""

import json
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
PAGES |= {
    f"notebooks/{path.name}": f"notebooks/{path.stem}.md"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
FENCE = re.compile(r"^ *```")
LINK = re.compile(
    r'(?P<start>!?)\[(?P<words>[^]]*)\]\((?P<target>[^)\s]+)\)|(?P<name>src|href)="(?P<value>[^"]+)"'
)
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) |^\|")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Headings get the anchors that they have in the repository."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = of_notebook(text) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """A page as Python-Markdown and the site want it."""
    here = page.file.src_uri
    source = next((source for source, made in PAGES.items() if made == here), f"docs/{here}")
    known = {file.src_uri for file in files}
    lines, fenced, before = [], False, ""
    for line in markdown.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            line = LINK.sub(lambda found: turned(found, source, here, known), line)
            line = re.sub(r"^ {2,3}(?=\S)", "    ", line)  # what belongs to an item
            if (
                ITEM.match(line)
                and before.strip()
                and not re.match(r"^ *[-*#|]|^ *\d+\.|^    ", before)
            ):
                lines.append("")  # a list may follow a sentence at once
        lines.append(line)
        before = line
    return "\n".join(lines)


def turned(found: re.Match, source: str, here: str, known: set[str]) -> str:
    """A link of a file as a link of its page `here`; its words where there is no page."""
    target = found["target"] or found["value"]
    path, mark, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return found[0]
    there = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if not (ROOT / there).exists():
        return found[0]  # the strict build names it
    there = PAGES.get(there, there.removeprefix("docs/"))
    if there not in known:
        return found["words"] if found["target"] else found[0]
    link = os.path.relpath(there, os.path.dirname(here) or ".") + mark + anchor
    return (
        f"{found['start']}[{found['words']}]({link})"
        if found["target"]
        else f'{found["name"]}="{link}"'
    )


def of_notebook(text: str) -> str:
    """A notebook as Markdown: its texts, its code, and what the code printed."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(fenced(source.replace("%matplotlib inline\n", ""), "python"))
        parts += [of_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def of_output(output: dict) -> str:
    """What a cell printed: a picture, a table, or text."""
    if output["output_type"] == "stream":
        return fenced("".join(output["text"]))
    data = {kind: "".join(value) for kind, value in output["data"].items()}
    if "image/png" in data:
        picture = data["image/png"].strip()
        return f'<img alt="what the cell drew" src="data:image/png;base64,{picture}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        table = re.sub(r"<table[^>]*>", "<table>", table)  # the site's own look
        return re.sub(r"\n\s*", "\n", table)
    return fenced(data["text/plain"])


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"
