"""Where the files of the project are, in a checkout and installed."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "roots").is_dir()  # the wheel keeps there what lies beside us in src/
SOURCE = PACKAGE / "roots" if INSTALLED else PACKAGE.parent  # models, common, utils, configs
CONFIGS = SOURCE / "configs"
MODELS = SOURCE / "models"


def from_yaml(path: str | Path) -> Path:
    """Absolute form of a path in the yaml files, such as ../data/, which starts at src/.

    Installed, the caller's folder stands for the checkout's: ./data/.
    """
    path = Path(path).expanduser()
    if not INSTALLED:
        return (SOURCE / path).resolve()
    inside = path.relative_to("..") if path.parts[:1] == ("..",) else path
    return (Path.cwd() / inside).resolve()


def reports() -> Path:
    """The folder of the reports, unless the caller names another."""
    return from_yaml("../reports")
