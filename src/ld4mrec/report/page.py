"""A report as one page: style, script and figures inside, nothing loaded, no script needed.

Every text goes through Jinja's escaping. The page's security policy allows its own style sheet and
its own script, by their digests, and nothing else.
"""

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from ld4mrec.report.palette import DARK, LIGHT, variables
from ld4mrec.report.report import Report
from ld4mrec.report.svg import rules

HERE = Path(__file__).parent
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def report(report: Report, figures: dict[str, str], numbers: str) -> str:
    """The page. figures: {name: SVG element} of those drawn. numbers: the CSV, for download."""
    style, script = style_sheet(), (HERE / "page.js").read_text(encoding="utf-8")
    return ENVIRONMENT.get_template("page.html").render(
        report=report,
        figures={name: Markup(svg) for name, svg in figures.items()},
        numbers=base64.b64encode(numbers.encode()).decode(),
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def style_sheet() -> str:
    """page.css with the palette put in."""
    classes = rules(lambda name: f"var(--{name})")
    colours = {"LIGHT": variables(LIGHT), "DARK": variables(DARK), "CLASSES": classes}
    style = (HERE / "page.css").read_text(encoding="utf-8")
    for name, text in colours.items():
        style = style.replace(f"/* {name} */", text)
    return style


def _digest(text: str) -> str:
    """As a security policy names a text: its SHA-256 in base64."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
