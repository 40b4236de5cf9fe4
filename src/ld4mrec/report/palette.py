"""The colours of a report: each has a light and a dark value.

Blue and orange stay apart for the colour-blind; what an orange mark says, its shape says too.
Contrast on paper: texts at least 4.5, marks at least 3 (WCAG 2.2), tested.
"""

PALETTE = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1c2127", "#e4e8ec"),
    "muted": ("#59636e", "#9ea8b3"),
    "rule": ("#d5dae0", "#363d45"),
    "tint": ("#f3f5f8", "#1e2328"),
    "plain": ("#2f6fb3", "#6aaeea"),
    "accent": ("#b8500f", "#f59b54"),
    "warning": ("#fff5dc", "#33290f"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
DARK = {name: dark for name, (_, dark) in PALETTE.items()}
NAMES = {light: name for name, light in LIGHT.items()}


def variables(theme: dict[str, str]) -> str:
    """The colours of LIGHT or DARK as CSS custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())
