"""Run notebooks/*.ipynb in an empty folder each, and keep what they print.

    python docs/run_notebooks.py [--check] [NAME.ipynb ...]

--check writes nothing. Paths of the folder are left out of the outputs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1200  # for a cell


def run(path: Path, folder: Path, source: Path | None = None) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in a folder; raises nbclient's CellExecutionError.

    source: of the package, None for the one that is installed.
    """
    notebook = nbformat.read(path, as_version=4)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
    client.execute(env=environment, cwd=str(folder))
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", ()):
            for holder in (output, output.get("data", {})):
                for key in ("text", "text/plain", "text/html"):
                    if isinstance(holder.get(key), str):
                        holder[key] = _shown(holder[key], folder)
        cell.metadata.pop("execution", None)  # the times of day
    return notebook


def joined(outputs: list) -> list:
    """What was printed piece by piece as one text; without progress bars, which go to stderr."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def _shown(text, folder):
    """A text without the folder's path."""
    for place in (folder.resolve(), folder):
        text = text.replace(f"{place}/", "")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="run, and write nothing")
    parser.add_argument("names", nargs="*", help="of notebooks; default: all")
    given = parser.parse_args()
    found = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in [ROOT / "notebooks" / name for name in given.names] or found:
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder), ROOT / "src")
        if not given.check:
            nbformat.write(notebook, path)
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
