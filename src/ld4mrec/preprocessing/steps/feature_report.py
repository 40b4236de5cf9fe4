"""What the feature step prints: before it, what it will take; after it, what was done."""

from argparse import Namespace

from ld4mrec.preprocessing.steps.encoders.base import FILE, NONE, OFFLINE
from ld4mrec.preprocessing.steps.encoders.inference import threads

PAGE = 4096  # LMDB keeps a large value in pages of its own, after a header of 16 bytes
SHOWN = 5


def summary(modality: str, made) -> str:
    """Lines on what `features.Made` holds."""
    n_items, facts = len(made.features), made.facts
    line = f"{modality}: {n_items:,} items, {facts['encoder']}, {facts['dimension']}-d"
    if "encoded now" in facts:
        rate = facts["encoded now"] / max(facts["seconds"], 0.1)
        line += f"; {facts['encoded now']:,} encoded"
        line += f" in {facts['seconds']:.0f} s ({rate:.0f}/s)" if facts["encoded now"] else ""
        line += f", {facts['from the store']:,} from the store"
    n_filled = len(made.missing) + len(made.broken)
    line += (
        f"; filled with the mean: {n_filled:,} ({n_filled / n_items:.2%}), "
        f"{len(made.missing):,} missing and {len(made.broken):,} broken"
    )
    shown = [
        f"\n  broken: {one['image']}: {one['why']}" for one in facts["broken"]["images"][:SHOWN]
    ]
    rest = len(made.broken) - len(shown)
    return line + "".join(shown) + (f"\n  and {rest:,} more, see the manifest" if rest > 0 else "")


def estimate(options: Namespace, n_items: int, n_images: int) -> list[str]:
    """Lines on the time, memory and disk that `encode` will take at most; for --dry-run.

    Loads and writes nothing. What the store has already is not subtracted.
    """
    if options.no_features:
        return ["features: none (--no-features)"]
    return [
        _estimate_one(options, modality, n)
        for modality, n in (("text", n_items), ("image", n_images))
    ]


def _estimate_one(options, modality, n):
    name = getattr(options, f"{modality}_encoder")
    if name == NONE or n is None or (n == 0 and not name.startswith(FILE)):
        return f"{modality}: no features"
    if name.startswith(FILE):
        return f"{modality}: vectors are read from {name.removeprefix(FILE)}"
    facts = OFFLINE.get(name)
    if facts is None:
        return (
            f"{modality}: {n:,} to encode with {name}; its time and size are not known before it "
            "runs (the progress bar tells after the first batches)"
        )
    cores = threads()
    seconds = n / (facts.per_second * cores)
    disk = n * _stored_bytes(4 * facts.dimension)
    if facts.pixel_bytes and not options.no_covers:
        disk += n * _stored_bytes(facts.pixel_bytes)
    return (
        f"{modality}: {n:,} to encode with {name}, at most {_duration(seconds)} on a CPU with "
        f"{cores} core{'s' if cores > 1 else ''} ({facts.per_second:.0f}/s each), "
        f"{facts.memory / 1024:.1f} GB of memory, {disk / 1e9:.2f} GB of disk in {options.store}, "
        f"{n * 4 * facts.dimension / 1e9:.2f} GB for {modality}_feat.npy"
    )


def _stored_bytes(size):
    return -(-(size + 16) // PAGE) * PAGE if size > PAGE // 2 else size + 64


def _duration(seconds):
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(1, seconds / 60):.0f} min"
