"""What the runs of a comparison say, as a report: tables, figures, warnings, sentences."""

import statistics
import sys
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from ld4mrec.comparison import ledger, measures, significance
from ld4mrec.data.features import load_features
from ld4mrec.data.interactions import RecDataset
from ld4mrec.report.figures import Bands, Dots, Forest, Scatter
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table
from ld4mrec.runs.folder import environment

LEVEL = 0.05  # of significance, after Holm's correction
NAMES = {"recall": "Recall", "ndcg": "NDCG", "map": "MAP", "precision": "Precision"}
NOT_KEPT = "the runs have no top-K lists (save_recommended_topk; runs of --archive have none)"


class Findings:
    """rows: checked by `ledger.check_protocol`, those without a finished run left out. target: the
    label that the others are tested against. popularity: the finished run of Pop.
    """

    def __init__(self, rows, dataset, metrics, target, popularity):
        self.incomplete = [row for row in rows if len(row.done) < len(row.runs)]
        self.rows = [row for row in rows if row.done]
        self.dataset, self.metrics, self.popularity = dataset, metrics, popularity
        self.config = self.rows[0].done[0].config
        self.metric = self.config["valid_metric"].lower()
        self.larger = self.config["valid_metric_bigger"]
        self.cut_off = int(self.metric.split("@")[1])
        self.target = next(row for row in self.rows if row.label == target)
        self.others = [row for row in self.rows if row is not self.target]
        self.data = RecDataset(self.config)
        self.train, _, self.test = map(_matrix, self.data.split())

    def report(self):
        accuracy = self.accuracy()
        gain = (self.improvement(),) if self.others else ()
        sections = [Section("Accuracy", (accuracy, *self._dots(accuracy), *gain))]
        if self.others:
            users, seeds = self.over_users(), self.over_seeds()
            target = self.target.label
            forest = Forest(
                name="differences",
                caption=f"Difference in test {shown(self.metric)}, {target} minus the other, with "
                "its 95 % interval over users.",
                table=users,
                column="difference",
                axis=f"difference in {shown(self.metric)}",
                below="the other is better",
                above=f"{target} is better",
            )
            sections.append(Section("How sure", (users, forest, seeds)))
        cost = self.cost()
        scatter = Scatter(
            name="accuracy-and-time",
            caption="Accuracy against training time; further left is faster.",
            table=cost,
            x="training, s",
            y=shown(self.metric),
            x_axis="seconds of training, all epochs",
            highlight=(self.target.label,),
        )
        trained = any(cell.is_number for cell in cost.column("training, s").values())
        sections.append(Section("Cost", (cost, *([scatter] if trained else []))))
        sections.append(Section("Beyond accuracy", (self.beyond(),)))
        users, items = self.by_user(), self.by_item()
        sections.append(Section("For whom", (*self._bands(users), *self._bands(items))))
        sections.append(Section("Settings", (self.settings(),)))
        return Report(
            title=f"{len(self.rows)} systems on {self.dataset}",
            lead=self.lead(),
            warnings=tuple(self.warnings()),
            sections=tuple(sections),
            colophon=self.colophon(),
        )

    # --- tables

    def accuracy(self):
        """Validation and test metrics, mean and spread over seeds."""
        columns = self._columns()
        rows = tuple(
            (
                row.label,
                tuple(
                    replace(over_seeds(row.values(*where)), note=_fewer_seeds(row))
                    for where in columns.values()
                ),
            )
            for row in self.rows
        )
        table = Table("accuracy", "Accuracy", tuple(columns), rows, self._notes())
        return table.marked(dict.fromkeys(columns, True))

    def _columns(self):
        """{column: (split, metric)}"""
        test = {f"test {shown(metric)}": ("test", metric) for metric in self.metrics}
        return {f"validation {shown(self.metric)}": ("valid", self.metric)} | test

    def improvement(self):
        """The target's gain over the other row that is strongest on validation."""
        columns, other = self._columns(), self.strongest(self.others)
        cells = tuple(
            _gain(self.target.mean(*where), other.mean(*where)) for where in columns.values()
        )
        label = f"{self.target.label} over {other.label}"
        notes = (f"{other.label} is the strongest other by validation.",)
        for row in (self.target, other):
            if fewer := _fewer_seeds(row):
                notes += (f"{row.label}: {fewer}.",)
        title = "Improvement over the best baseline"
        return Table("improvement", title, tuple(columns), ((label, cells),), notes)

    def _notes(self):
        masked = self.config["mask_valid_at_test"]
        valid = "no candidates" if masked else "candidates"
        n_seeds = sorted({len(row.done) for row in self.rows})
        n_users = len(ledger.per_user(self.target.done[0])["users"])
        return (
            "All-ranking: every item is a candidate but the user's training items; validation "
            f"items are {valid} at test. {n_users:,} test users.",
            f"Mean ± standard deviation over {_range(n_seeds)} seeds. Test numbers are those of "
            "the weights that were best on validation, and decided nothing.",
        )

    def strongest(self, rows):
        """The row with the best mean on validation; one that lacks seeds only if all do."""
        sign = 1 if self.larger else -1
        return max(
            rows, key=lambda row: (not _fewer_seeds(row), sign * row.mean("valid", self.metric))
        )

    def _dots(self, table):
        column = f"test {shown(self.metric)}"
        if column not in table.columns:
            return ()
        caption = f"{column}, mean and standard deviation over seeds."
        highlight = (self.target.label,)
        name = "test-accuracy"
        return (Dots(name=name, caption=caption, table=table, column=column, highlight=highlight),)

    def over_users(self):
        return self._tests("over users", "users", self._compared(self.target, self.others))

    def _compared(self, row, others):
        """{label: Comparison} of a row with others over the users."""
        return significance.compare_users(
            self._users_of(row), {other.label: self._users_of(other) for other in others}
        )

    def _users_of(self, row):
        """{seed: (users, their values)}"""
        arrays = {one.config["seed"]: ledger.per_user(one) for one in row.done}
        return {seed: (found["users"], found[self.metric]) for seed, found in arrays.items()}

    def over_seeds(self):
        values = {
            row.label: {one.config["seed"]: one.result["test"][self.metric] for one in row.done}
            for row in self.rows
        }
        first = values.pop(self.target.label)
        return self._tests("over seeds", "seeds", significance.compare_seeds(first, values))

    def _tests(self, title, unit, found):
        columns = (
            *("difference", "p, t-test", "p, t-test, Holm", "p, Wilcoxon", "p, Wilcoxon, Holm"),
            *("d_z", "rank-biserial"),
        )
        rows = []
        for label, c in found.items():
            why = "; ".join(filter(None, (c.left_out, c.note))) or "not tested"
            difference = (
                Cell(None, note=why)
                if c.difference is None
                else Cell(c.difference, interval=c.interval, format="+.4f", note=c.left_out or None)
            )
            p = [
                Cell(None, note=why) if value is None else Cell(value, format="p")
                for value in (c.p_t, c.holm_t, c.p_wilcoxon, c.holm_wilcoxon)
            ]
            sizes = [
                Cell(None, note=why if value is None else "all differences are equal")
                if value is None or not np.isfinite(value)
                else Cell(value, format="+.2f")
                for value in (c.d_z, c.rank_biserial)
            ]
            rows.append((label, (difference, *p, *sizes)))
        tested = sum(c.p_t is not None for c in found.values())
        notes = (
            f"{self.target.label} minus the other, paired by {unit}; two-sided p-values, Holm's "
            f"over the {tested} comparisons that were tested. d_z: mean over standard deviation of "
            "the differences.",
        )
        title = f"Test {shown(self.metric)}, {title}"
        return Table(f"significance-{unit}", title, columns, tuple(rows), notes)

    def cost(self):
        """Parameters, epochs, seconds, memory: means over seeds."""
        columns = (
            *("parameters", "epochs", "training, s", "s per epoch", "validation, s", "MiB"),
            shown(self.metric),
        )
        rows = []
        for row in self.rows:
            results = [one.result for one in row.done]
            trained = row.done[0].config["req_training"]
            spent = [r["seconds"].get("train", 0) + r["seconds"].get("model", 0) for r in results]
            epochs = [r["epochs"] for r in results]
            each = [r["seconds"].get("train", 0) / max(r["epochs"], 1) for r in results]
            checks = [r["seconds"].get("valid", 0) / max(r["epochs"], 1) for r in results]
            memory = [r["peak_memory"]["ram_bytes"] / 2**20 for r in results]
            no_epochs = Cell(None, note="not trained by gradient")
            rows.append(
                (
                    row.label,
                    (
                        Cell(results[0]["parameters"], format=",.0f"),
                        over_seeds(epochs, ".0f") if trained else no_epochs,
                        over_seeds(spent, ",.1f"),
                        over_seeds(each, ",.2f") if trained else no_epochs,
                        over_seeds(checks, ",.2f"),
                        Cell(statistics.mean(memory), format=",.0f"),
                        Cell(row.mean("test", self.metric), note=_fewer_seeds(row)),
                    ),
                )
            )
        one = self.target.done[0].config
        notes = (
            f"Wall seconds on {one['device'].type}, {one['threads']} threads, as the runs were "
            "made: whatever else the machines did is in them. Training includes building the "
            "model. MiB: peak memory of the process.",
        )
        return Table("cost", "Cost", columns, tuple(rows), notes)

    def beyond(self):
        """Coverage, Gini, novelty, popularity and diversity of the lists of length K."""
        loaded = load_features(self.config, self.data.get_item_num())
        features = {name: loaded.files[path] for name, path in loaded.modalities.items()}
        by_row = {
            row.label: [
                measures.beyond_accuracy(items[:, : self.cut_off], users, self.train, features)
                for users, items in self._lists(row)
            ]
            for row in self.rows
        }
        names = next((tuple(found[0]) for found in by_row.values() if found), ("coverage",))
        of_label = {row.label: row for row in self.rows}
        cells = [
            (
                label,
                tuple(
                    _measured([one[name] for one in found], name, of_label[label]) for name in names
                ),
            )
            for label, found in by_row.items()
        ]
        notes = (
            f"Of the top {self.cut_off} of each test user, means over seeds. coverage: share of "
            "all items that are listed; gini: 0 if all are listed equally often; novelty: bits of "
            "self-information; popularity: mean training users of the listed items, and of the "
            "users' own; popularity lift: the first over the second, minus 1; personalisation: "
            "1 - the share of items that two users' lists have in common; diversity: 1 - mean "
            "cosine of two items of a list, on the features named.",
        )
        return Table(
            "beyond-accuracy",
            "Beyond accuracy",
            tuple(name.replace("_", " ") for name in names),
            tuple(cells),
            notes,
        )

    def _lists(self, row):
        return [lists for one in row.done if (lists := ledger.top_items(one)) is not None]

    def by_user(self):
        notes = ("Mean over the band's users.",)
        return self._by_group(
            "by-activity", "by the user's number of training items", measures.user_bands, notes
        )

    def by_item(self):
        notes = (
            "Hits over targets in the band: each target counts once. Items in band 0 are cold: "
            "nobody has them in training.",
        )
        title = "by the target's number of training users"
        return self._by_group("by-popularity", title, measures.item_bands, notes)

    def _by_group(self, name, title, measure, notes):
        rows, columns = [], None
        for row in self.rows:
            by_seed = [
                measure(items[:, : self.cut_off], users, self.test, self.train)
                for users, items in self._lists(row)
            ]
            if by_seed:
                columns = columns or tuple(f"{b.label} ({b.targets:,})" for b in by_seed[0])
            rows.append((row, by_seed))
        columns = columns or ("all",)
        cells = [
            (
                row.label,
                tuple(
                    _mean_cell(
                        [bands[at].recall for bands in by_seed],
                        row,
                        "no target in the band",
                    )
                    for at in range(len(columns))
                ),
            )
            for row, by_seed in rows
        ]
        title = f"Test Recall@{self.cut_off} {title} (targets in brackets)"
        table = Table(name, title, columns, tuple(cells), notes)
        return table.marked(dict.fromkeys(columns, True))

    def _bands(self, table):
        drawn = tuple(name for name in table.columns if table.is_numeric(name))
        if not drawn:
            return (table,)
        caption = f"{table.title}."
        figure = Bands(
            name=table.name,
            caption=caption,
            table=table,
            columns=drawn,
            axis=f"Recall@{self.cut_off}",
            highlight=(self.target.label,),
        )
        return table, figure

    def settings(self):
        """Where each row's settings come from, and what differs from the yaml."""
        rows = []
        for row in self.rows:
            one = row.done[0]
            keys = {k: v for k, v in one.config.point.items() if k != "seed"} | row.entry.settings
            text = ", ".join(f"{key}={value}" for key, value in keys.items()) or "none"
            best = ", ".join(str(run.result["best_epoch"] + 1) for run in row.done)
            seeds = ", ".join(str(run.config["seed"]) for run in row.done)
            ids = ", ".join(run.folder.id for run in row.done)
            rows.append((row.label, tuple(map(Cell, (row.entry.origin, text, seeds, best, ids)))))
        columns = ("from", "hyper-parameters", "seeds", "best epochs", "runs")
        return Table("settings", "Settings and runs", columns, tuple(rows))

    # --- words

    def lead(self):
        best = self.strongest(self.rows)
        said = [
            f"{best.label} is best on validation: {shown(self.metric)} "
            f"{best.mean('valid', self.metric):.4f}, on the test split "
            f"{best.mean('test', self.metric):.4f}."
        ]
        if self.others:
            other = self.strongest([row for row in self.rows if row is not best])
            said.append(self._against(best, other))
        return tuple(said)

    def _against(self, best, other):
        found = self._compared(best, [other])[other.label]
        if found.interval is None:
            return f"Against {other.label}, the next on validation, it is not tested: {found.note}."
        low, high = found.interval
        verdict = "is not" if self._within_noise(found) else "is"
        seeds = f", {found.left_out}" if found.left_out else ""
        return (
            f"Against {other.label}, the next on validation, it has {found.difference:+.4f} "
            f"[{low:+.4f}, {high:+.4f}] on the test users, which {verdict} more than chance "
            f"explains (paired t-test, p = {found.p_t:.2g}{seeds})."
        )

    @staticmethod
    def _within_noise(compared):
        if compared.interval is None:
            return True
        low, high = compared.interval
        return low <= 0 <= high or compared.p_t > LEVEL

    def warnings(self):
        for row in self.rows:
            yield from row.entry.warnings
        for row in self.incomplete:
            missing = [one for one in row.runs if not one.result]
            for why in dict.fromkeys(_why(row, one) for one in missing):
                seeds = [one.config["seed"] for one in missing if _why(row, one) == why]
                listed = ", ".join(map(str, seeds))
                are = "seeds {} are" if len(seeds) > 1 else "seed {} is"
                yield f"{row.label}, {are.format(listed)} missing: {why}"
        yield from self._twins()
        best = self.strongest(self.rows)
        if self.others:
            other = self.strongest([row for row in self.rows if row is not best])
            if self._within_noise(self._compared(best, [other])[other.label]):
                lead = f"{best.label} over {other.label}"
                yield f"the lead of {lead} is inside the noise of the users"
        if self.popularity:
            floor = self.popularity.result["valid"][self.metric]
            for row in self.rows:
                values = row.values("valid", self.metric)
                worse = max(values) <= floor if self.larger else min(values) >= floor
                if worse and row.entry.model != "Pop":
                    yield (
                        f"{row.label} never beat popularity on validation "
                        f"({shown(self.metric)} {floor:.4f})"
                    )
        fewest = min(len(row.done) for row in self.rows)
        if fewest < significance.FEWEST_FOR_WILCOXON:
            yield (
                f"{fewest} seeds at the least: too few for a test over seeds to say much, so trust "
                "the differences over users together with the spread"
            )

    def _twins(self):
        by_runs = {}
        for row in self.rows:
            by_runs.setdefault(tuple(one.folder.id for one in row.done), []).append(row.label)
        for labels in by_runs.values():
            if len(labels) > 1:
                yield f"{' and '.join(labels)} are the same runs under different labels"

    def colophon(self):
        found = environment(self.config)
        data = self.target.done[0].folder.identity["data"]
        versions = [f"{name} {version}" for name, version in found["packages"].items()]
        return {
            "command": (" ".join(sys.argv),),
            "versions": (f"Python {found['python']}", *versions),
            "commit": (found["git_commit"] or "not a git checkout",),
            "machine": (found["platform"], f"{found['device']}"),
            "data": tuple(f"{name}: SHA-256 {digest}" for name, digest in data.items()),
        }


def shown(metric):
    """'Recall@20' of 'recall@20'."""
    name, _, cut_off = metric.partition("@")
    return f"{NAMES.get(name, name)}@{cut_off}"


def over_seeds(values, form=".4f"):
    """Mean with the standard deviation over seeds, where there are two or more."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.mean(values), spread=spread, format=form)


def _why(row, one):
    return one.failure or row.reason or "not run"


def _fewer_seeds(row):
    done, wanted = len(row.done), len(row.runs)
    return f"{done} of {wanted} seeds" if done < wanted else None


def _measured(values, name, row):
    """Cell of a measure beyond accuracy; mean numbers of users have one decimal."""
    form = ".1f" if name in ("popularity", "popularity_history") else ".3f"
    return _mean_cell(values, row, form=form)


def _mean_cell(values, row, absent="undefined", form=".4f"):
    """Mean over those runs of a row that have lists; a note where these are not all."""
    if not values:
        return Cell(None, note=NOT_KEPT)
    if any(value is None for value in values):
        return Cell(None, note=absent)
    note = _fewer_seeds(row)
    if len(values) < len(row.done):
        note = f"{len(values)} of {len(row.runs)} seeds; of the others {NOT_KEPT}"
    return replace(over_seeds(values, form), note=note)


def _gain(value, other):
    if not other:
        return Cell(None, note="the other is 0")
    return Cell(value / other - 1, format="+.1%")


def _range(numbers):
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _matrix(split):
    """Interactions of a split as a binary CSR matrix (U, I)."""
    df = split.df
    shape = split.get_user_num(), split.get_item_num()
    users, items = df[split.uid_field].to_numpy(), df[split.iid_field].to_numpy()
    return sp.csr_matrix((np.ones(len(df)), (users, items)), shape=shape)
