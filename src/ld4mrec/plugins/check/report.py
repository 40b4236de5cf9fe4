"""What `--check-plugin` found, and how it reads."""

import textwrap
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
    def failed(self) -> list[str]:
        return [row.name for row in self.rows if row.outcome == FAILED]

    @property
    def clean(self) -> bool:
        return not self.failed

    @property
    def verdict(self) -> str:
        if self.failed:
            return f"FAILED: {', '.join(self.failed)}"
        notes = sum(row.outcome == NOTE for row in self.rows)
        return "clean" + f", with {notes} note{'s' * (notes > 1)}" * bool(notes)

    def add(self, outcome: str, name: str, text: str, trace: str = "") -> None:
        self.rows.append(Row(outcome, name, text, trace))

    def text(self, in_full: bool = False) -> str:
        """The report; in_full: with tracebacks and what was printed."""
        lines = [self.title, *_wrapped("tried on  ", self.data), "", "what it uses"]
        for what, found in self.uses.items():
            lines += _wrapped(f"  {what:<14}", found or "nothing")
        done = "; ".join(self.shims) or "nothing"
        lines += ["", *_wrapped("what was done for it: ", done), "", "checks"]
        for row in self.rows:
            lines += _wrapped(f"  {row.outcome:<6}  {row.name:<20}", row.text)
        if self.untried:
            lines += _wrapped("  not tried, since it failed before: ", ", ".join(self.untried))
        more = {row.name: row.trace for row in self.rows} | {"printed": self.output}
        more = {name: text.rstrip() for name, text in more.items() if text.strip()}
        lines += ["", self.verdict, *["(in full: --traceback)"] * bool(more and not in_full)]
        for name, text in more.items() if in_full else ():
            lines += ["", f"--- {name}", text]
        return "\n".join(lines)


def uses_of(file: Path, notes: dict[str, dict]) -> dict[str, str]:
    """{what of the host: text}: what a model's file imports and what `usage` noted."""
    texts = [
        f"{module} ({', '.join(names)})" if names else module
        for module, names in usage.imports(file).items()
        if module.partition(".")[0] not in EVERYWHERE
    ]
    read, assigned = usage.base_attributes(file)
    uses = {
        "imports": "; ".join(texts),
        "base class": ", ".join([*read, *(f"{name} (assigned)" for name in assigned)]),
    }
    found = {kind: ", ".join(whats) for kind, whats in notes.items()}
    uses |= {kind: found.get(kind, "") for kind in ("loader", "data set", "config")}
    if "absent" in found:
        uses["config, None"] = f"{found['absent']} (declared in no yaml)"
    return uses | {kind: found[kind] for kind in ("config set", "config object") if kind in found}


def _wrapped(label, text):
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * min(len(label), 30),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label.rstrip()]
