"""What `--check-plugin` found, and how it reads."""

import textwrap
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from ld4mrec.plugins import usage

EVERYWHERE = ("torch", "numpy", "scipy")
OK, FAILED, NOTE = "ok", "FAILED", "note"
WIDTH = 100


@dataclass
class Row:
    """One check: its outcome (OK, FAILED or NOTE), its name, a sentence; trace: of its error."""

    outcome: str
    name: str
    text: str
    trace: str = ""


@dataclass
class Report:
    """title: the model and its file. data: what it was tried on. uses: {what of the host: text}.
    shims: what was done for it. untried: checks that an earlier failure left out. output: what was
    printed meanwhile.
    """

    title: str
    data: str = ""
    uses: dict = field(default_factory=dict)
    shims: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    untried: list = field(default_factory=list)
    output: str = ""

    @property
    def failed(self):
        return [row.name for row in self.rows if row.outcome == FAILED]

    @property
    def clean(self):
        return not self.failed

    @property
    def verdict(self):
        if self.failed:
            return f"FAILED: {', '.join(self.failed)}"
        notes = sum(row.outcome == NOTE for row in self.rows)
        return "clean" + f", with {notes} note{'s' * (notes > 1)}" * bool(notes)

    def add(self, outcome, name, text, trace=""):
        self.rows.append(Row(outcome, name, text, trace))

    def text(self, in_full=False):
        """The report; in_full: with tracebacks and what was printed."""
        lines = [self.title, *_wrapped("tried on  ", self.data)]
        lines += ["", "what it uses"]
        for what, found in self.uses.items():
            lines += _wrapped(f"  {what:<14}", found or "nothing")
        lines += ["", *_wrapped("what was done for it: ", "; ".join(self.shims) or "nothing")]
        lines += ["", "checks"]
        for row in self.rows:
            lines += _wrapped(f"  {row.outcome:<6}  {row.name:<20}", row.text)
        if self.untried:
            lines += _wrapped("  not tried, since it failed before: ", ", ".join(self.untried))
        lines += ["", f"{self.verdict}"]
        if not in_full:
            more = self.output.strip() or any(row.trace for row in self.rows)
            return "\n".join([*lines, *["(in full: --traceback)"] * bool(more)])
        for row in self.rows:
            lines += ["", f"--- {row.name}", row.trace.rstrip()] if row.trace else []
        if self.output.strip():
            lines += ["", "--- printed", self.output.rstrip()]
        return "\n".join(lines)


def uses_of(file, notes):
    """{what of the host: text}: what a model's file imports and what `usage` noted."""
    imported = {
        module: names
        for module, names in usage.imports([file]).items()
        if module.partition(".")[0] not in EVERYWHERE
    }
    texts = [f"{module} ({', '.join(n)})" if n else module for module, n in imported.items()]
    read, assigned = usage.base_attributes([file])
    uses = {
        "imports": "; ".join(texts),
        "base class": ", ".join([*read, *(f"{name} (assigned)" for name in assigned)]),
    }
    always = ("loader", "data set", "config")
    uses |= {kind: ", ".join(notes.get(kind, ())) for kind in always}
    if notes.get("absent"):
        uses["config, None"] = f"{', '.join(notes['absent'])} (declared in no yaml)"
    for kind in ("config set", "config object"):
        if notes.get(kind):
            uses[kind] = ", ".join(notes[kind])
    return uses


def describe(error, folder):
    """An exception in one line, after the line of a file in `folder` that it came from."""
    seen, innermost = error, None
    while seen is not None:
        for frame in traceback.extract_tb(seen.__traceback__):
            if Path(frame.filename).is_relative_to(folder):
                innermost = frame
        if innermost:
            break
        seen = seen.__cause__ or seen.__context__
    what = " ".join("".join(traceback.format_exception_only(error)).split())
    what = textwrap.shorten(what, 500, placeholder=" ...")
    if innermost is None:
        return what
    name = Path(innermost.filename).relative_to(folder)
    return f"{name} line {innermost.lineno}, in {innermost.name}: {what}"


def _wrapped(label, text):
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * min(len(label), 30),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label.rstrip()]
