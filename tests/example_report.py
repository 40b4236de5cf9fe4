"""A report with made-up numbers, for tests: eight models, four tables, four figures; and what the
tests of reports read pages, figures and colours with.
"""

from html.parser import HTMLParser

import numpy as np

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
    return table.marked(columns)


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
    return table.marked(columns)


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
    sections = {
        "Accuracy": ("All items were ranked for every test user.", first, recall),
        "Are the differences real?": ("Users are paired between models.", second, differences),
        "Who gains": ("Test users in four bands.", third, by_activity),
        "Cost": ("Seconds of training alone.", fourth, time),
    }
    return Report(
        title="Eight models on toy & <tiktok>",
        lead=("Made-up numbers: LD4MRec and MGCN lead, and LD4MRec trains nine times faster.",),
        sections=tuple(Section(heading, content) for heading, content in sections.items()),
        warnings=(
            "MGCN was tuned on 4 of its 12 grid points: 8 runs are missing.",
            "VBPR's seed 3 diverged; its mean is over four seeds.",
        ),
        colophon={
            "command": ("python src/compare.py -d tiktok -m Pop,BPR,MGCN --seeds=1,2,3,4,5",),
            "versions": ("Python 3.11.7", "torch 2.13.0", "numpy 2.4.6", "scipy 1.17.1"),
            "data": (
                f"tiktok.inter {'5e884898da28047151d0e56f8dc62927' * 2}",
                f"image_feat.npy {'6b86b273ff34fce19d6b804eff5a3f57' * 2}",
            ),
        },
    )


VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """A page's elements and texts; `unbalanced` holds what is closed in the wrong place."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open, self.unbalanced = [], [], [], []
        self.feed(html)
        self.unbalanced += self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_in(self, tag):
        return [text for name, text in self.texts if name == tag and text]


def painted(figure):
    """The axes of a figure, drawn, and matplotlib's renderer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = Figure(layout="constrained")
    renderer = FigureCanvasAgg(sheet).get_renderer()
    figure.paint(sheet)
    return sheet.axes, renderer


def rgb(colour):
    """Three shares of '#rrggbb'."""
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def contrast(*colours):
    """WCAG's contrast ratio of two colours of three shares each, 1 to 21."""
    channels = np.array(colours)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)
