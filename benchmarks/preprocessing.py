"""Reading raw downloads: our loaders beside pandas and polars, on generated files.

    python benchmarks/preprocessing.py [--folder DIR] [--hm 2 8] [--own 2 8] [--tmall 5]
    python benchmarks/preprocessing.py --hm --own 20 --tmall --memory --repeats 1
    python benchmarks/preprocessing.py --hm 31.8 --own --tmall --memory --only ours --repeats 1

Numbers are millions of rows; the third line is the full H&M size (3.5 GB on disk meanwhile).
The task is the loaders': distinct (user, item) pairs with their earliest time, then the 5-core.
Each variant runs in a process of its own and must give the same counts. CPU seconds (user and
system) and wall time are those of the task without the imports, memory is the process's peak.
The yardstick is a plain pandas.read_csv pipeline; ratios say how many times less than it.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import shared

from ld4mrec.preprocessing import hm, tmall
from ld4mrec.preprocessing.formats.layout import Said, columns_of, recognise
from ld4mrec.preprocessing.formats.rows import Part, Wish, read_parts
from ld4mrec.preprocessing.steps.interactions import coded, k_core
from ld4mrec.preprocessing.tmall_files import TEXT, Packed

K = 5
CHUNK = 500_000
NO_WINDOW = (None, None)
HM_COLUMNS = {"t_dat": "time", "customer_id": "user", "article_id": "item"}
LOG_COLUMNS = ["item", "user", "action", "time"]
PURCHASES = 500_000  # in the log of --memory, whatever its size


# --- generated files -----------------------------------------------------------------------------


def write_hm(path, rows, seed=0):
    """A file in the format of transactions_train.csv: about as many customers, articles and exact
    duplicates per row as the real one, sorted by day.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = max(2000, int(rows * 0.043)), min(104_547, 40_000 + int(rows * 0.0033))
    customers = np.frombuffer(rng.bytes(32 * n_users).hex().encode(), dtype="S64")
    numbers = 108_775_015 + rng.choice(850_000_000, n_items, replace=False)
    articles = np.char.zfill(numbers.astype(str), 10).astype("S10")
    prices = np.char.mod("%.18g", rng.gamma(2, 0.014, 1000)).astype("S")
    dates = (np.datetime64("2018-09-20") + np.arange(734)).astype("S10")
    days = np.sort(rng.integers(734, size=rows))
    user_bounds, item_bounds = cumulated(rng, n_users, 0.5), cumulated(rng, n_items, 0.4)
    with open(path, "wb") as file:
        file.write(",".join(hm.HEADER).encode() + b"\n")
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            user = np.searchsorted(user_bounds, rng.random(n))
            item = np.searchsorted(item_bounds, rng.random(n))
            twin = 1 + np.flatnonzero(rng.random(n - 1) < 0.094)
            user[twin], item[twin] = user[twin - 1], item[twin - 1]
            columns = (
                dates[days[start : start + n]],
                customers[user],
                articles[item],
                prices[rng.integers(1000, size=n)],
                np.where(rng.random(n) < 0.3, b"1", b"2"),
            )
            write_lines(file, columns, b",")


def write_lines(file, columns, separator):
    lines = zip(*(column.tolist() for column in columns), strict=True)
    file.write(b"\n".join(map(separator.join, lines)) + b"\n")


def cumulated(rng, n, shape):
    """Bounds to draw n things from, with uneven probabilities."""
    weight = rng.gamma(shape, size=n)
    bounds = np.cumsum(weight / weight.sum())
    bounds[-1] = 1
    return bounds


def write_log(path, rows, purchases=None, seed=0):
    """A log in TMALL's format with the real shares of actions, or with that many purchases."""
    rng = np.random.default_rng(seed)
    purchases = purchases or int(0.0093 * rows)
    users = items = max(100, purchases // 8)
    actions = np.array([b"click", b"cart", b"collect"])
    shares = np.array([0.9363, 0.0299, 0.0244])
    times = (np.datetime64("2013-04-01T00:00:00") + np.arange(0, 183 * 86_400, 7)).astype("S19")
    times = np.char.replace(times, b"T", b" ")
    bought = np.zeros(rows, dtype=bool)
    bought[rng.choice(rows, purchases, replace=False)] = True
    with open(path, "wb") as file:
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            action = rng.choice(actions, p=shares / shares.sum(), size=n)
            action = np.where(bought[start : start + n], b"alipay", action)
            columns = (
                (1 + rng.integers(items, size=n)).astype("S"),
                np.char.add(b"u", (1 + rng.integers(users, size=n)).astype("S")),
                action,
                times[rng.integers(len(times), size=n)],
            )
            write_lines(file, columns, b"\x01")


def write_own(path, rows, seed=0):
    """A CSV of user, item, rating and time, as people bring it: ids are texts, rows unsorted."""
    rng = np.random.default_rng(seed)
    n_users, n_items = max(2000, rows // 20), max(1000, rows // 200)
    users = np.char.add(b"customer-", np.arange(n_users).astype("S"))
    items = np.char.add(b"B0", np.char.zfill(np.arange(n_items).astype("S"), 8))
    user_bounds, item_bounds = cumulated(rng, n_users, 0.5), cumulated(rng, n_items, 0.4)
    with open(path, "wb") as file:
        file.write(b"user,item,rating,time\n")
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            columns = (
                users[np.searchsorted(user_bounds, rng.random(n))],
                items[np.searchsorted(item_bounds, rng.random(n))],
                rng.integers(1, 6, n).astype("S"),
                rng.integers(1_300_000_000, 1_700_000_000, n).astype("S"),
            )
            write_lines(file, columns, b",")


# --- variants: path -> (users, items, interactions) of the 5-core --------------------------------


def core_of(users, items):
    """Counts of the core of integer codes, with our k-core."""
    return k_core(coded(users, items, np.zeros(len(users), dtype=np.int8)), K)[0].counts()


def plain_core(frame):
    """The same of a pandas frame with columns user, item and time, as it is usually written."""
    frame = frame.groupby(["user", "item"], as_index=False)["time"].min()
    while True:
        per_user = frame.groupby("user")["item"].transform("size")
        per_item = frame.groupby("item")["user"].transform("size")
        stays = (per_user >= K) & (per_item >= K)
        if stays.all():
            return frame["user"].nunique(), frame["item"].nunique(), len(frame)
        frame = frame[stays]


class PandasCodes:
    """Codes of strings in chunks, by pandas' hash tables and one dictionary."""

    def __init__(self):
        self.known = {}

    def __call__(self, column):
        codes, distinct = pd.factorize(column)
        table = [self.known.setdefault(text, len(self.known)) for text in distinct.tolist()]
        return np.array(table, dtype=np.int32)[codes]


def core_of_chunks(chunks, times):
    """Counts of the core of pandas frames with strings; times: of a chunk, to ordered numbers."""
    users, items = PandasCodes(), PandasCodes()
    parts = [(users(x["user"]), items(x["item"]), times(x["time"])) for x in chunks]
    return core_of(*distinct(*(np.concatenate(column) for column in zip(*parts, strict=True))))


def distinct(user, item, time):
    """Pairs with their earliest time, by one sort."""
    pair = user.astype(np.int64) * (int(item.max()) + 1) + item
    order = np.lexsort((time, pair))
    first = order[np.diff(pair[order], prepend=-1) != 0]
    return user[first], item[first]


def hm_yardstick(path):
    frame = pd.read_csv(path, usecols=HM_COLUMNS, dtype={"article_id": str}, parse_dates=["t_dat"])
    return plain_core(frame.rename(columns=HM_COLUMNS))


def hm_chunks(path):
    chunks = pd.read_csv(path, usecols=HM_COLUMNS, dtype=str, chunksize=CHUNK)
    # the file is sorted by day, so a day's code is its order
    return core_of_chunks((chunk.rename(columns=HM_COLUMNS) for chunk in chunks), PandasCodes())


def hm_polars(path):
    import polars as pl

    frame = (
        pl.scan_csv(path, schema_overrides={"article_id": pl.String})
        .select(
            pl.col("t_dat").str.to_date("%Y-%m-%d"),
            pl.col("customer_id").cast(pl.Categorical).to_physical().alias("user"),
            pl.col("article_id").cast(pl.Categorical).to_physical().alias("item"),
        )
        .group_by("user", "item")
        .agg(pl.col("t_dat").min())
        .collect(engine="streaming")
    )
    return core_of(frame["user"].to_numpy(), frame["item"].to_numpy())


def hm_ours(path):
    interactions = hm.read_transactions(path, NO_WINDOW, 0.01).interactions
    return k_core(interactions, K)[0].counts()


def own_yardstick(path):
    return plain_core(pd.read_csv(path))


def own_read_only(path):
    return [] if len(pd.read_csv(path)) else None


def own_ours(path):
    path = Path(path)
    layout = recognise(path, Said())
    part = Part(path, layout, columns_of(layout, path, Said()))
    return k_core(read_parts([part], Wish(min_rating=0)).interactions, K)[0].counts()


LOG_FORMAT = {"sep": "\x01", "header": None, "names": LOG_COLUMNS, "quoting": 3}
LOG_FORMAT |= {"dtype": str, "keep_default_na": False}


def tmall_yardstick(path):
    frame = pd.read_csv(path, **LOG_FORMAT)
    frame = frame[frame["action"] == "alipay"]
    frame["time"] = pd.to_datetime(frame["time"])
    return plain_core(frame)


def tmall_chunks(path):
    chunks = pd.read_csv(path, **LOG_FORMAT, chunksize=CHUNK)
    bought = (chunk[chunk["action"] == "alipay"] for chunk in chunks)
    return core_of_chunks(bought, lambda time: pd.to_datetime(time).astype("int64").to_numpy())


def tmall_polars(path):
    import polars as pl

    frame = (
        pl.scan_csv(
            path, separator="\x01", has_header=False, quote_char=None, new_columns=LOG_COLUMNS
        )
        .filter(pl.col("action") == "alipay")
        .group_by("user", "item")
        .agg(pl.col("time").min())
        .collect(engine="streaming")
    )
    user = frame["user"].cast(pl.Categorical).to_physical().to_numpy()
    return core_of(user, frame["item"].to_numpy())


def tmall_lines(path):
    users, items, times = [], [], []
    with open(path, "rb") as file:
        for line in file:
            if b"\x01alipay\x01" in line:
                item, user, _, time = line.split(b"\x01")
                users.append(int(user[1:]))
                items.append(int(item))
                times.append(time)
    times = np.array(times, dtype="S19").astype("U19").astype("datetime64[s]").astype(np.int64)
    return core_of(*distinct(np.array(users), np.array(items), times))


def tmall_ours(path):
    log = tmall.read_log([Packed((Path(path),), TEXT)], ["alipay"], NO_WINDOW, 0.01)
    return k_core(coded(*log["columns"]), K)[0].counts()


VARIANTS = {
    "hm": {
        "pandas.read_csv (yardstick)": hm_yardstick,
        "pandas in chunks, codes": hm_chunks,
        "polars, streaming, codes": hm_polars,
        "ours (numpy on bytes)": hm_ours,
    },
    "own": {
        "pandas.read_csv (yardstick)": own_yardstick,
        "pandas.read_csv, nothing else": own_read_only,
        "ours (Arrow)": own_ours,
    },
    "tmall": {
        "pandas.read_csv (yardstick)": tmall_yardstick,
        "pandas in chunks, codes": tmall_chunks,
        "polars, streaming": tmall_polars,
        "Python, line by line": tmall_lines,
        "ours (numpy on bytes)": tmall_ours,
    },
}
OURS = "ours (numpy on bytes)"


# --- measuring -----------------------------------------------------------------------------------


def peak_mib():
    """Most memory that this process held at once."""
    try:  # getrusage's number may be the parent's, from before exec
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError):
        unit = 2**20 if platform.system() == "Darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def child(kind, name, path):
    """Run one variant in this process and print what it took, as JSON."""
    if "polars" in name:
        import polars  # noqa: F401 (imports are not measured)
    wall, cpu = time.monotonic(), time.process_time()
    counts = [int(n) for n in VARIANTS[kind][name](path)]
    took = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu, "mib": peak_mib()}
    print(json.dumps(took | {"counts": counts}))


def measure(kind, name, path):
    """What `child` prints of a variant; the last line of its errors if it failed."""
    program = [sys.executable, __file__, "--child", kind, name, str(path)]
    # polars cannot be timed beside single-threaded code otherwise
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1])


def compare(kind, millions, folder, repeats, only):
    """Measure all variants on one generated file and print the table."""
    rows = round(millions * 1_000_000)
    path = folder / f"{kind}_{rows}.txt"
    {"hm": write_hm, "own": write_own, "tmall": write_log}[kind](path, rows)
    size = path.stat().st_size / 1e6
    print(f"\n{kind}: {rows:,} rows, {size:,.0f} MB; median of {repeats}")
    head = f"{'variant':30}{'wall s':>8}{'CPU s':>8}{'MiB':>8}"
    print(f"{head}   yardstick / this: wall  CPU  memory")
    yardstick, counts, kinds = None, None, ("wall", "cpu", "mib")
    runs = {name: [] for name in VARIANTS[kind] if only in name}
    for _ in range(repeats):  # interleaved, so that a busy moment does not fall on one variant
        for name, results in runs.items():
            results.append(measure(kind, name, path))
    for name, results in runs.items():
        if isinstance(results[0], str):
            print(f"{name:30}not run: {results[0]}")
            continue
        took = {key: float(np.median([r[key] for r in results])) for key in kinds}
        yardstick, counts = yardstick or took, counts or results[0]["counts"]
        if results[0]["counts"] and results[0]["counts"] != counts:
            raise SystemExit(f"{name} found {results[0]['counts']}, the yardstick {counts}")
        ratios = "".join(f"{yardstick[key] / took[key]:8.1f}" for key in kinds)
        print(f"{name:30}{took['wall']:8.2f}{took['cpu']:8.2f}{took['mib']:8.0f}{'':17}{ratios}")
    print(f"{'':30}5-core: {counts[0]:,} users, {counts[1]:,} items, {counts[2]:,} interactions")
    path.unlink()


def compare_memory(sizes, folder):
    """Our peak memory on logs of different length with the same number of purchases."""
    print(f"\ntmall: peak memory of our loader, {PURCHASES:,} purchases in each log")
    for millions in sizes:
        rows = round(millions * 1_000_000)
        path = folder / f"log_{rows}.txt"
        write_log(path, rows, purchases=PURCHASES)
        got = measure("tmall", OURS, path)
        print(f"{rows:>14,} rows: {got['mib']:6.0f} MiB, {got['cpu']:.2f} CPU s")
        path.unlink()


def main():
    parser = shared.parser(__doc__)
    parser.add_argument("--folder", help="where the generated files lie meanwhile")
    for key, default in (
        *(("--hm", [2, 8]), ("--own", [2, 8])),
        *(("--tmall", [5]), ("--memory", [5, 20])),
    ):
        parser.add_argument(key, type=float, nargs="*", default=default, metavar="MILLIONS")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="variants with it in their name")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    versions = f"numpy {np.__version__}, pandas {pd.__version__}"
    print(f"{shared.cores()}, Python {platform.python_version()}, {versions}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for kind in ("hm", "own", "tmall"):
            for millions in getattr(given, kind):
                compare(kind, millions, Path(folder), given.repeats, given.only)
        if given.memory:
            compare_memory(given.memory, Path(folder))


if __name__ == "__main__":
    main()
