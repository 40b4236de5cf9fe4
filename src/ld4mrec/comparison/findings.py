"""What the runs of a comparison say, as a report: tables, figures, warnings, sentences."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ld4mrec.comparison import curves, ledger, measures, significance, tuned
from ld4mrec.comparison.cells import accuracy_columns, over_seeds, ratio, shown
from ld4mrec.comparison.colophon import colophon
from ld4mrec.comparison.ledger import Row
from ld4mrec.data.features import load_features
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import counted
from ld4mrec.report.figures import Bands, Dots, Figure, Forest, Scatter
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table, slug
from ld4mrec.runs.identity import BOOKKEEPING
from ld4mrec.runs.run import Run
from ld4mrec.runs.used import data_used, features_used, machine_used
from ld4mrec.training.patience import too_early

LEVEL = 0.05  # of significance, after Holm's correction
NOT_KEPT = "the runs have no top-K lists (save_recommended_topk; runs of --archive have none)"


class Findings:
    """rows: checked by `ledger.check_protocol`, those without a finished run left out. target: the
    label that the others are tested against. popularity: the finished run of Pop.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        dataset: str,
        metrics: Sequence[str],
        target: str,
        popularity: Run | None,
    ) -> None:
        self.incomplete = [row for row in rows if len(row.done) < len(row.runs)]
        self.rows = [row for row in rows if row.done]
        self.dataset, self.metrics, self.popularity = dataset, metrics, popularity
        runs = [row.done[0] for row in self.rows] + ([popularity] if popularity else [])
        # one of ours where there is one: a third party's asks more of the features
        self.config = next((run for run in runs if run.config.ours), runs[0]).config
        self.metric = self.config["valid_metric"].lower()
        self.cut_off = int(self.metric.split("@")[1])
        self.columns = accuracy_columns(metrics, self.metric)
        self.target = next(row for row in self.rows if row.label == target)
        self.others = [row for row in self.rows if row is not self.target]
        self.data = RecDataset(self.config)
        self.splits = self.data.split()
        self.train, _, self.test = map(_matrix, self.splits)

    def report(self) -> Report:
        """All of it."""
        accuracy, cost = self.accuracy(), self.cost()
        gain = (self.improvement(),) if self.others else ()
        sections = [
            Section("What was used", (self.used(),)),
            Section("Accuracy", (accuracy, *self._dots(accuracy), *gain)),
        ]
        if self.others:
            users = self.over_users()
            forest = self._forest(users)
            sections.append(Section("How sure", (users, forest, self.over_seeds())))
        sections += [
            Section("Cost", (cost, *self._scatter(cost))),
            Section("Training", curves.training(self.rows, self.metric, self.target.label)),
            Section("Beyond accuracy", (self.beyond(),)),
            Section("For whom", (*self._bands(self.by_user()), *self._bands(self.by_item()))),
            Section("Settings", (self.settings(), *tuned.tuning(self.rows, self.target.label))),
        ]
        return Report(
            title=f"{counted(len(self.rows), 'system')} on {self.dataset}",
            name=slug(self.dataset),
            lead=self.lead(),
            warnings=tuple(self.warnings()),
            sections=tuple(sections),
            colophon=colophon(self.config, self.target.done[0].folder.identity["data"], {}),
        )

    # --- figures

    def _dots(self, accuracy: Table) -> tuple[Figure, ...]:
        column = f"test {shown(self.metric)}"
        if column not in accuracy.columns:
            return ()
        caption = f"{column}, mean and standard deviation over seeds."
        drawn = {"table": accuracy, "column": column, "highlight": (self.target.label,)}
        return (Dots(name="test-accuracy", caption=caption, **drawn),)

    def _forest(self, users: Table) -> Figure:
        target, metric = self.target.label, shown(self.metric)
        return Forest(
            name="differences",
            caption=f"Difference in test {metric}, {target} minus the other, with its 95 % "
            "interval over users.",
            table=users,
            column="difference",
            axis=f"difference in test {metric}",
            below="the other is better",
            above=f"{target} is better",
        )

    def _scatter(self, cost: Table) -> tuple[Figure, ...]:
        if not cost.is_numeric("training, s"):
            return ()
        caption = "Accuracy against training time; further left is faster."
        drawn = {"table": cost, "x": "training, s", "y": shown(self.metric)}
        drawn |= {"x_axis": "seconds of training, all epochs", "axis": f"test {drawn['y']}"}
        drawn |= {"highlight": (self.target.label,)}
        return (Scatter(name="accuracy-and-time", caption=caption, **drawn),)

    def _bands(self, table: Table) -> tuple[Table | Figure, ...]:
        return Bands.with_table(
            table,
            table.columns,
            caption=f"{table.title}.",
            axis=f"test Recall@{self.cut_off}",
            highlight=(self.target.label,),
        )

    # --- tables

    def _table(self, name, title, columns, cells, notes=()):
        """A table with a line per row. cells: those of a row."""
        return Table(name, title, columns, [(row.label, cells(row)) for row in self.rows], notes)

    def used(self) -> Table:
        """Data, features, parameters, device and seeds of each row, as the runs' logs say them."""

        def cells(row: Row) -> Iterator[Cell]:
            run = row.done[0]
            yield Cell(features_used(run.config))
            yield Cell(run.result["parameters"], format=",.0f")
            yield Cell(machine_used(run.config))
            yield Cell(_seeds_of(row))

        notes = (f"{data_used(self.dataset, self.splits)}.",)
        columns = ("features", "parameters", "device", "seeds")
        return self._table("used", "What was used", columns, cells, notes)

    def accuracy(self) -> Table:
        """Validation and test metrics, mean and spread over seeds."""

        def cells(row: Row) -> list[Cell]:
            note = _fewer_seeds(row)
            return [over_seeds(row.values(*where), note=note) for where in self.columns.values()]

        masked = self.config["mask_valid_at_test"]
        valid = "no candidates" if masked else "candidates"
        n_seeds = [len(row.by_seed) for row in self.rows]
        least, most = min(n_seeds), max(n_seeds)
        seeds = counted(most, "seed") if least == most else f"{least} to {most} seeds"
        n_users = len(ledger.per_user(self.target.done[0])["users"])
        notes = (
            "All-ranking: every item is a candidate but the user's training items; validation "
            f"items are {valid} at test. {counted(n_users, 'test user')}.",
            f"Mean ± standard deviation over {seeds}. Test numbers are those of the weights that "
            "were best on validation, and decided nothing."
            + " What is not trained has one run for all seeds, and no spread."
            * any(len(row.by_seed) > len(row.done) for row in self.rows),
        )
        return self._table("accuracy", "Accuracy", self.columns, cells, notes).marked(self.columns)

    def improvement(self) -> Table:
        """The target's gain over the other row that is strongest on validation."""
        other = self.strongest(self.others)
        at = self.columns.values()
        gains = [ratio(self.target.mean(*where), other.mean(*where)) for where in at]
        line = (f"{self.target.label} over {other.label}", gains)
        notes = [f"{other.label} is the strongest other by validation."]
        pair = (self.target, other)
        notes += [f"{row.label}: {fewer}." for row in pair if (fewer := _fewer_seeds(row))]
        return Table(
            "improvement", "Improvement over the best baseline", self.columns, [line], notes
        )

    def strongest(self, rows: Iterable[Row]) -> Row:
        """The row with the best mean on validation; one that lacks seeds only if all do."""
        return max(rows, key=lambda row: (not _fewer_seeds(row), row.mean("valid", self.metric)))

    def over_users(self) -> Table:
        """The target against each other row, paired by users."""
        return self._tests("over users", "users", self._compared(self.target, self.others))

    def _compared(self, row: Row, others: Iterable[Row]) -> dict[str, significance.Comparison]:
        """{label: Comparison} of a row with others over the users."""

        def values(row: Row) -> dict[int, significance.UserValues]:
            arrays = {seed: ledger.per_user(run) for seed, run in row.by_seed.items()}
            return {seed: (found["users"], found[self.metric]) for seed, found in arrays.items()}

        return significance.compare_users(values(row), {o.label: values(o) for o in others})

    def over_seeds(self) -> Table:
        """The target against each other row, paired by seeds."""
        values = {
            row.label: {s: run.result["test"][self.metric] for s, run in row.by_seed.items()}
            for row in self.rows
        }
        first = values.pop(self.target.label)
        return self._tests("over seeds", "seeds", significance.compare_seeds(first, values))

    def _tests(self, title: str, unit: str, compared: dict[str, significance.Comparison]) -> Table:
        columns = (
            *("difference", "p, t-test", "p, t-test, Holm", "p, Wilcoxon", "p, Wilcoxon, Holm"),
            *("d_z", "rank-biserial"),
        )
        rows = [(label, _test_cells(found)) for label, found in compared.items()]
        tested = sum(found.p_t is not None for found in compared.values())
        notes = (
            f"{self.target.label} minus the other, paired by {unit}; two-sided p-values, Holm's "
            f"over the {counted(tested, 'comparison')} that could be tested. d_z: mean over "
            "standard deviation of the differences.",
        )
        title = f"Test {shown(self.metric)}, {title}"
        return Table(f"significance-{unit}", title, columns, rows, notes)

    def cost(self) -> Table:
        """Parameters, epochs, seconds, memory: means over seeds."""
        columns = (
            *("parameters", "epochs", "training, s", "s per epoch", "validation, s", "MiB"),
            shown(self.metric),
        )

        def cells(row: Row) -> Iterator[Cell]:
            results = [run.result for run in row.done]
            epochs = [result["epochs"] for result in results]
            train, valid, model = (
                np.array([result["seconds"].get(phase, 0) for result in results])
                for phase in ("train", "valid", "model")
            )
            each = np.maximum(epochs, 1)
            memory = [result["peak_memory"]["ram_bytes"] / 2**20 for result in results]
            trained = row.done[0].config["req_training"]
            no_epochs = Cell(None, note="not trained by gradient")
            yield Cell(results[0]["parameters"], format=",.0f")
            yield over_seeds(epochs, ".0f") if trained else no_epochs
            yield over_seeds((train + model).tolist(), ",.1f")
            yield over_seeds((train / each).tolist(), ",.2f") if trained else no_epochs
            yield over_seeds((valid / each).tolist(), ",.2f")
            yield Cell(statistics.mean(memory), format=",.0f")
            yield Cell(row.mean("test", self.metric), note=_fewer_seeds(row))

        config = self.target.done[0].config
        notes = (
            f"Wall seconds on {config['device'].type}, {counted(config['threads'], 'thread')}, as "
            "the runs were made: whatever else the machines did is in them. Training includes "
            "building the model. MiB: peak memory of the process.",
        )
        return self._table("cost", "Cost", columns, cells, notes)

    def beyond(self) -> Table:
        """Coverage, Gini, novelty, popularity and diversity of the lists of length K."""
        loaded = load_features(self.config, self.data.get_item_num())
        features = {name: loaded.files[path] for name, path in loaded.modalities.items()}
        found = self._of_lists(
            lambda users, items: measures.beyond_accuracy(items, users, self.train, features)
        )
        names = next((tuple(runs[0]) for runs in found.values() if runs), ("coverage",))

        def cells(row: Row) -> Iterator[Cell]:
            for name in names:
                form = ".1f" if name in ("popularity", "popularity_history") else ".3f"
                yield _mean_cell([run[name] for run in found[row.label]], row, "undefined", form)

        notes = (
            f"Of the top {self.cut_off} of each test user, means over seeds. coverage: share of "
            "all items that are listed; gini: 0 if all are listed equally often; novelty: bits of "
            "self-information; popularity: mean training users of the listed items, and of the "
            "users' own; popularity lift: the first over the second, minus 1; personalisation: "
            "1 - the share of items that two users' lists have in common; diversity: 1 - mean "
            "cosine of two items of a list, on the features named.",
        )
        columns = [name.replace("_", " ") for name in names]
        return self._table("beyond-accuracy", "Beyond accuracy", columns, cells, notes)

    def _of_lists(self, measure: Callable[[np.ndarray, np.ndarray], object]) -> dict[str, list]:
        """{label: what is measured of users (n,) and their lists (n, K) of each run with lists}."""
        return {
            row.label: [
                measure(users, items[:, : self.cut_off])
                for users, items in filter(None, map(ledger.top_items, row.done))
            ]
            for row in self.rows
        }

    def by_user(self) -> Table:
        """Recall by the user's number of training items."""
        title = "by the user's number of training items"
        return self._by_group(
            "by-activity", title, measures.user_bands, "Mean over the band's users."
        )

    def by_item(self) -> Table:
        """Recall by the target's number of training users."""
        title = "by the target's number of training users"
        note = (
            "Hits over targets in the band: each target counts once. Items in band 0 are cold: "
            "nobody has them in training."
        )
        return self._by_group("by-popularity", title, measures.item_bands, note)

    def _by_group(self, name: str, title: str, measure: Callable, note: str) -> Table:
        found = self._of_lists(lambda users, items: measure(items, users, self.test, self.train))
        bands = next((runs[0] for runs in found.values() if runs), None)
        columns = ["all"] if bands is None else [f"{b.label} ({b.targets:,})" for b in bands]

        def cells(row: Row) -> Iterator[Cell]:
            for at in range(len(columns)):
                recalls = [bands[at].recall for bands in found[row.label]]
                yield _mean_cell(recalls, row, "no target in the band")

        title = f"Test Recall@{self.cut_off} {title} (targets in brackets)"
        return self._table(name, title, columns, cells, (note,)).marked(columns)

    def settings(self) -> Table:
        """Where each row's settings come from, and what differs from the yaml."""

        def cells(row: Row) -> Iterator[Cell]:
            point = row.done[0].config.point
            given = {key: v for key, v in row.keys.items() if key not in BOOKKEEPING}
            keys = {key: v for key, v in point.items() if key != "seed"} | row.entry.settings
            keys = given | keys
            yield Cell(row.entry.origin + " and the command line" * bool(given))
            yield Cell(", ".join(f"{key}={value}" for key, value in keys.items()) or "none")
            yield Cell(_seeds_of(row))
            yield Cell(", ".join(str(run.result["best_epoch"] + 1) for run in row.done))
            yield Cell(", ".join(run.id for run in row.done))

        columns = ("from", "hyper-parameters", "seeds", "best epochs", "runs")
        return self._table("settings", "Settings and runs", columns, cells)

    # --- words

    def lead(self) -> tuple[str, ...]:
        """Which row is best on validation, and whether it is more than chance."""
        best, other, found = self._first_two
        said = (
            f"{best.label} is best on validation: {shown(self.metric)} "
            f"{best.mean('valid', self.metric):.4f}, on the test split "
            f"{best.mean('test', self.metric):.4f}.",
        )
        if other is None:
            return said
        against = f"Against {other.label}, the next on validation, it"
        if found.interval is None:
            return (*said, f"{against} is not tested: {found.note}.")
        low, high = found.interval
        verdict = "is not" if _within_noise(found) else "is"
        seeds = f", {found.left_out}" if found.left_out else ""
        return (
            *said,
            f"{against} has {found.difference:+.4f} [{low:+.4f}, {high:+.4f}] on the test users, "
            f"which {verdict} more than chance explains (paired t-test, p = {found.p_t:.2g}"
            f"{seeds}).",
        )

    @cached_property
    def _first_two(self) -> tuple[Row, Row | None, significance.Comparison | None]:
        """The best row on validation, the next where there is another, and how they compare."""
        best = self.strongest(self.rows)
        others = [row for row in self.rows if row is not best]
        if not others:
            return best, None, None
        other = self.strongest(others)
        return best, other, self._compared(best, [other])[other.label]

    def warnings(self) -> Iterator[str]:
        """What a reader must know before a number is used."""
        for row in self.rows:
            yield from row.entry.warnings
        yield from tuned.unequal(self.rows)
        for row in self.incomplete:
            yield from _missing_seeds(row)
        for row in self.rows:
            yield from _ended_early(row)
        twins = {}
        for row in self.rows:
            twins.setdefault(tuple(run.folder.id for run in row.done), []).append(row.label)
        for labels in twins.values():
            if len(labels) > 1:
                yield f"{' and '.join(labels)} are the same runs under different labels"
        best, other, found = self._first_two
        if found and _within_noise(found):
            yield f"the lead of {best.label} over {other.label} is inside the noise of the users"
        if self.popularity:
            floor = self.popularity.result["valid"][self.metric]
            for row in self.rows:
                if max(row.values("valid", self.metric)) <= floor and row.entry.model != "Pop":
                    yield (
                        f"{row.label} never beat popularity on validation "
                        f"({shown(self.metric)} {floor:.4f})"
                    )
        fewest = min(len(row.by_seed) for row in self.rows)
        if fewest < significance.FEWEST_FOR_WILCOXON:
            yield (
                f"{counted(fewest, 'seed')} at the least: too few for a test over seeds to say "
                "much, so trust the differences over users together with the spread"
            )


def _test_cells(found: significance.Comparison) -> tuple[Cell, ...]:
    """Difference, p-values and effect sizes, or why there are none."""
    why = "; ".join(filter(None, (found.left_out, found.note))) or "not tested"
    empty, infinite = Cell(None, note=why), Cell(None, note="all differences are equal")
    difference = empty
    if found.difference is not None:
        note = found.left_out or None
        difference = Cell(found.difference, interval=found.interval, format="+.4f", note=note)
    p_values = (found.p_t, found.holm_t, found.p_wilcoxon, found.holm_wilcoxon)
    p = [empty if value is None else Cell(value, format="p") for value in p_values]
    sizes = [
        empty if value is None else Cell(value, format="+.2f") if np.isfinite(value) else infinite
        for value in (found.d_z, found.rank_biserial)
    ]
    return difference, *p, *sizes


def _within_noise(found: significance.Comparison) -> bool:
    if found.interval is None:
        return True
    low, high = found.interval
    return low <= 0 <= high or found.p_t > LEVEL


def _missing_seeds(row: Row) -> Iterator[str]:
    """A sentence for each reason why seeds of a row are missing."""
    seeds = {}
    for run in row.runs:
        if not run.result:
            why = run.failure or row.reason or "not run"
            seeds.setdefault(why, []).append(str(run.config["seed"]))
    for why, of_why in seeds.items():
        are = "seeds {} are" if len(of_why) > 1 else "seed {} is"
        yield f"{row.label}, {are.format(', '.join(of_why))} missing: {why}"


def _ended_early(row: Row) -> Iterator[str]:
    """A sentence for each way in which runs of a row ended too early."""
    seeds = {}
    for run in row.done:
        for sentence in too_early(run.config, run.result):
            seeds.setdefault(sentence, []).append(str(run.config["seed"]))
    for sentence, of_it in seeds.items():
        yield f"{row.label}, seed{'s' * (len(of_it) > 1)} {', '.join(of_it)}: {sentence}"


def _seeds_of(row: Row) -> str:
    """The seeds of a row's runs, in words."""
    if len(row.by_seed) > len(row.done):
        return "any"
    return ", ".join(map(str, row.by_seed))


def _fewer_seeds(row: Row) -> str | None:
    done, wanted = len(row.done), len(row.runs)
    return f"{done} of {counted(wanted, 'seed')}" if done < wanted else None


def _mean_cell(values, row, undefined, form=".4f"):
    """Mean over those runs of a row that have lists; a note where these are not all."""
    if not values or None in values:
        return Cell(None, note=undefined if values else NOT_KEPT)
    note = _fewer_seeds(row)
    if len(values) < len(row.done):
        note = f"{len(values)} of {counted(len(row.runs), 'seed')}; of the others {NOT_KEPT}"
    return over_seeds(values, form, note)


def _matrix(split: RecDataset) -> sp.csr_matrix:
    """Interactions of a split as a binary CSR matrix (U, I)."""
    df = split.df
    shape = split.get_user_num(), split.get_item_num()
    users, items = df[split.uid_field].to_numpy(), df[split.iid_field].to_numpy()
    return sp.csr_matrix((np.ones(len(df)), (users, items)), shape=shape)
