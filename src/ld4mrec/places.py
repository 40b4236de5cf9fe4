"""Where the files of the project are."""

from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]  # src/, what paths in the yaml files are relative to
CONFIGS = SOURCE / "configs"
MODELS = SOURCE / "models"
REPORTS = SOURCE.parent / "reports"
