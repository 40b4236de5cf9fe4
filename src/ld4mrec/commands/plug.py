"""Put LD4MRec into a MMRec checkout, or take it out again.

    python src/plug.py PATH            PATH: the checkout, or its src folder
    python src/plug.py PATH --remove

Copies models/ld4mrec.py, the files of common that it needs, configs/model/LD4MRec.yaml and the data
set yamls that the checkout lacks. Nothing is overwritten:
where a file of ours has a namesake there, the command stops before it writes anything; a data set
yaml that is there stays. A record in the checkout, src/ld4mrec_plug.json, tells --remove what was
copied; what was edited since stays, and is kept when the copy is made again.
"""

import sys
from argparse import Namespace
from pathlib import Path

from ld4mrec import checksums
from ld4mrec.config.parsing import Parser
from ld4mrec.errors import UserError, exit_status
from ld4mrec.files import replacing, sha256
from ld4mrec.places import SOURCE

NEEDED = (
    "models/ld4mrec.py",
    "common/catalogue.py",
    "common/diffusion.py",
    "common/graph.py",
    "common/item_graph.py",
    "common/item_links.py",
    "common/largest.py",
    "common/options.py",
    "common/rows.py",
    "common/signals.py",
    "common/sparse.py",
    "common/svd.py",
    "configs/model/LD4MRec.yaml",
)
RECORD = "ld4mrec_plug.json"
MARKS = ("main.py", "common", "models", "utils", "configs/model", "configs/dataset")


def host_folder(path: str | Path) -> Path:
    """The src folder of the MMRec checkout at `path`, which may be that folder itself.

    Raises UserError where none is.
    """
    for folder in (Path(path) / "src", Path(path)):
        missing = [mark for mark in MARKS if not (folder / mark).exists()]
        if not missing:
            break
    else:
        raise UserError(
            f"{path} is no MMRec checkout: neither it nor its src folder has all of "
            f"{', '.join(MARKS)}; give the folder that holds MMRec's src"
        )
    if folder.resolve() == SOURCE:
        raise UserError(f"{path} is this project itself; give the path of a MMRec checkout")
    return folder


def plug(path: str | Path) -> tuple[list[str], list[str]]:
    """Copy the plugin into the checkout at `path`; (copied, kept), paths below its src folder.

    kept: data set yamls that were there before, and what --remove left because it was edited.
    Raises UserError, with nothing written, if the plugin is there already or a file would be
    overwritten.
    """
    host = host_folder(path)
    before = _recorded(host) if (host / RECORD).exists() else {}
    edited = [name for name in before if (host / name).exists()]
    if before and all((host / name).exists() for name in NEEDED):
        raise UserError(
            f"LD4MRec is already in {host} ({RECORD} says so); --remove takes it out first"
        )
    taken = [name for name in NEEDED if (host / name).exists() and name not in edited]
    if taken:
        raise UserError(
            f"{host} already has {', '.join(taken)}, and nothing is overwritten; move it away, or "
            "delete it if it was copied from here by hand"
        )
    yamls = sorted((SOURCE / "configs" / "dataset").glob("*.yaml"))
    yamls = [yaml.relative_to(SOURCE).as_posix() for yaml in yamls]
    kept = [name for name in yamls if (host / name).exists() or name in edited]
    kept += [name for name in edited if name not in kept]
    copied = [name for name in (*NEEDED, *yamls) if name not in kept]
    # the record first, so that --remove can mend a copy that was stopped
    digests = {name: before[name] for name in edited}
    digests |= {name: sha256(SOURCE / name) for name in copied}
    checksums.write_json(host / RECORD, digests)
    for name in copied:
        with replacing(host / name) as file:
            file.write((SOURCE / name).read_bytes())
    return copied, kept


def unplug(path: str | Path) -> tuple[list[str], list[str]]:
    """Remove what `plug` copied; (removed, changed), the latter edited since and left there.

    Raises UserError if there is no record of a copy, or one that cannot be read.
    """
    host = host_folder(path)
    record = host / RECORD
    if not record.exists():
        raise UserError(f"LD4MRec was not put into {host} by this command: there is no {RECORD}")
    digests = _recorded(host)
    ours = {*NEEDED, *(n for n in digests if Path(n).parent == Path("configs/dataset"))}
    present = [name for name in digests if name in ours and (host / name).is_file()]
    changed = [name for name in present if sha256(host / name) != digests[name]]
    removed = [name for name in present if name not in changed]
    for name in removed:
        (host / name).unlink()
    if changed:  # so that the copy can be made again beside them
        checksums.write_json(record, {name: digests[name] for name in changed})
    else:
        record.unlink()
    return removed, changed


def _recorded(host):
    """{file: SHA-256} of what was copied; UserError for a record that cannot be read."""
    record = host / RECORD
    try:
        return checksums.unsealed(record.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{record} is damaged ({error}); delete these files by hand: {', '.join(NEEDED)}"
        ) from error


def advice(path: str | Path, called: str) -> list[str]:
    """Lines that say what to run in the checkout at `path`; called: this command."""
    folder = host_folder(path).resolve()
    return [
        "",
        f"to train, with the data set's folder in {folder.parent / 'data'}:",
        f"    cd {folder} && python main.py -m LD4MRec -d tmall",
        "The lists of LD4MRec.yaml are a grid of 25 runs there; one value in each list is one run.",
        f"to undo: {called} {path} --remove",
    ]


def run(options: Namespace, called: str) -> None:
    if options.remove:
        removed, changed = unplug(options.path)
        lines = [f"removed {name}" for name in removed]
        lines += [f"left, because it was changed since: {name}" for name in changed]
    else:
        copied, kept = plug(options.path)
        lines = [f"copied {name}" for name in copied]
        lines += [f"kept the checkout's own {name}" for name in kept]
        lines += advice(options.path, called)
    print(*lines, sep="\n")


def main(arguments: list[str] | None = None, prog: str = "plug.py") -> int:
    parser = Parser(prog, __doc__, takes_keys=False)
    parser.add_argument("path", metavar="PATH", help="a MMRec checkout, or its src folder")
    parser.add_argument("--remove", action="store_true", help="take the plugin out again")
    options = parser.parse_args(arguments)
    called = f"python {SOURCE / prog}" if prog == "plug.py" else prog
    stopped = "interrupted; --remove takes out what was copied"
    return exit_status(lambda: run(options, called), stopped)


if __name__ == "__main__":
    sys.exit(main())
