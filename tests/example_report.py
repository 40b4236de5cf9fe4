"""A report with made-up numbers, for tests: eight models, four tables, four figures."""

from ld4mrec.report.figures import Bands, Dots, Forest, Scatter
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

# name: test Recall@20 and NDCG@20 with their spreads, seconds to train with spread, parameters
MODELS = {
    "Pop": (0.0596, None, 0.0254, None, 0.4, None, 0),
    "BPR": (0.0671, 0.0014, 0.0291, 0.0008, 41.0, 5.2, 1_025_152),
    "LightGCN": (0.0921, 0.0011, 0.0412, 0.0006, 212.0, 19.0, 1_025_152),
    "VBPR": (0.0718, 0.0021, 0.0309, 0.0011, 64.0, 7.7, 1_171_200),
    "LATTICE": (0.1012, 0.0016, 0.0451, 0.0007, 1904.0, 140.0, 1_284_480),
    "BM3": (0.0978, 0.0019, 0.0433, 0.0012, 355.0, 41.0, 1_189_632),
    "MGCN": (0.1069, 0.0012, 0.0478, 0.0009, 872.0, 66.0, 1_293_056),
    "LD4MRec": (0.1069 + 3e-4, 0.0015, 0.0475, 0.0010, 98.0, 11.0, 5_145_490),
}
NO_RUN = "EASE refuses more than max_dense_items items & has no run <here>."


def accuracy():
    rows = [("EASE", (Cell(None, note=NO_RUN),) * 4)]
    for name, (recall, recall_spread, ndcg, ndcg_spread, *_) in MODELS.items():
        cells = (
            Cell(0.58 * recall, recall_spread),
            Cell(recall, recall_spread),
            Cell(0.8 * ndcg, ndcg_spread),
            Cell(ndcg, ndcg_spread),
        )
        rows.append((name, cells))
    columns = ("Recall@10", "Recall@20", "NDCG@10", "NDCG@20")
    notes = ("Means over seeds 1 to 5; popularity has no seed.",)
    table = Table("accuracy", "Accuracy on the test split of toy & <tiktok>", columns, rows, notes)
    return table.marked(dict.fromkeys(columns, True))


def significance():
    rows = []
    ours = MODELS["LD4MRec"][0]
    for name, (recall, *_) in MODELS.items():
        if name == "LD4MRec":
            continue
        gap, half = ours - recall, 0.0031
        p = 0.81 if abs(gap) < half else 1e-9
        words = "no difference shown" if p > 0.05 else "LD4MRec is better"
        cells = (
            Cell(gap, interval=(gap - half, gap + half), format="+.4f"),
            Cell(gap / recall, format="+.1%"),
            Cell(p, format="p"),
            Cell(words),
        )
        rows.append((f"LD4MRec {chr(0x2212)} {name}", cells))
    columns = ("Δ Recall@20", "relative", "p (Holm)", "reading")
    note = "Paired bootstrap over 3,051 users, 95 % intervals; p-values of Wilcoxon's test."
    title = "Differences from the other models"
    return Table("significance", title, columns, rows, (note,), row_title="difference")


def bands():
    rows = []
    for name, (recall, spread, *_) in MODELS.items():
        factors = (0.71, 0.96, 1.13, 1.21)
        rows.append((name, [Cell(f * recall, spread and 1.6 * spread) for f in factors]))
    columns = ("≤ 3 interactions", "4 to 6", "7 to 12", "> 12")
    table = Table("bands", "Recall@20 by the user's training interactions", columns, rows)
    return table.marked(dict.fromkeys(columns, True))


def cost():
    rows = []
    for name, (recall, recall_spread, _, _, seconds, spread, parameters) in MODELS.items():
        cells = (
            Cell(seconds, spread, format=",.1f"),
            Cell(parameters, format=",.0f"),
            Cell(recall, recall_spread),
        )
        rows.append((name, cells))
    columns = ("training (s)", "parameters", "Recall@20")
    return Table("cost", "What a training run costs", columns, rows)


def tables():
    return accuracy(), significance(), bands(), cost()


def figures(accuracy, significance, bands, cost):
    ours = ("LD4MRec",)
    return (
        Dots(
            name="recall",
            caption="Recall@20 on the test split: mean and standard deviation over five seeds.",
            table=accuracy,
            column="Recall@20",
            highlight=ours,
        ),
        Forest(
            name="differences",
            caption="Differences in Recall@20 with 95 % intervals; grey where zero is inside.",
            table=significance,
            column="Δ Recall@20",
            axis="difference in Recall@20",
            below="other model better",
            above="LD4MRec better",
        ),
        Bands(
            name="by-activity",
            caption="Recall@20 by how many training interactions a user has.",
            table=bands,
            columns=bands.columns,
            axis="Recall@20",
            highlight=ours,
        ),
        Scatter(
            name="accuracy-and-time",
            caption="Accuracy against training time; up and to the left is better.",
            table=cost,
            x="training (s)",
            y="Recall@20",
            x_axis="training time in seconds, one CPU thread",
            highlight=ours,
        ),
    )


def report():
    first, second, third, fourth = tables()
    recall, differences, by_activity, time = figures(first, second, third, fourth)
    sections = (
        Section(
            "Accuracy",
            (
                "Every model was trained with five seeds on the same split and ranked all items "
                "for every test user; training items were masked, validation items left in. The "
                "weights are those of the epoch with the best validation Recall@20.",
                first,
                recall,
            ),
        ),
        Section(
            "Are the differences real?",
            (
                "Users are paired between models. An interval that includes zero means that this "
                "comparison shows no difference, not that there is none.",
                second,
                differences,
            ),
        ),
        Section(
            "Who gains",
            (
                "Test users in four bands of the number of their training interactions.",
                third,
                by_activity,
            ),
        ),
        Section(
            "Cost",
            (
                "Seconds are those of training alone, on one thread of the machine named below; "
                "only their ratios carry over to another machine.",
                fourth,
                time,
            ),
        ),
    )
    return Report(
        title="Eight models on toy & <tiktok>",
        lead=("Made-up numbers: LD4MRec and MGCN lead, and LD4MRec trains nine times faster.",),
        sections=sections,
        warnings=(
            "MGCN was tuned on 4 of its 12 grid points: 8 runs are missing.",
            "VBPR's seed 3 diverged; its mean is over four seeds.",
        ),
        colophon={
            "command": (
                "python src/compare.py -d tiktok -m Pop,BPR,LightGCN,VBPR,LATTICE,BM3,MGCN,LD4MRec"
                " --seeds=1,2,3,4,5 --threads=1",
            ),
            "commit": ("0123456789abcdef0123456789abcdef01234567, 2 changed files",),
            "versions": ("Python 3.11.7", "torch 2.13.0", "numpy 2.4.6", "scipy 1.17.1"),
            "data": (
                f"tiktok.inter {'5e884898da28047151d0e56f8dc62927' * 2}",
                f"image_feat.npy {'6b86b273ff34fce19d6b804eff5a3f57' * 2}",
            ),
        },
    )
