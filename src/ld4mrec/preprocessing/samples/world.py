"""What the samples have in common: items of kinds, users who prefer kinds, clicks, pictures.

An item has a subject, which its title tells, and a look, which its picture shows; a user likes one
subject and one look. Neither title nor picture tells the whole taste.
"""

import io
import math
from dataclasses import dataclass

import numpy as np

from ld4mrec.data.counts import Counts
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps.interactions import coded, k_core

SUBJECTS, LOOKS = 6, 6
KINDS = SUBJECTS * LOOKS
STRENGTH = 2.4  # a match in subject, or in look, multiplies the odds of a click by exp of it
WRONG_CLICKS = 0.1  # share of clicks that follow exposure alone
POP_SPREAD = 0.5
FEWEST, EXTRA, MOST = 3, 7.0, 40  # clicks per user
SIZE = 128  # pixels of a picture's side

# shape, colour, pattern
LOOK_PARTS = (
    ("circle", (200, 30, 40), "plain"),
    ("square", (30, 80, 200), "stripes"),
    ("triangle", (30, 150, 60), "dots"),
    ("cross", (240, 190, 30), "plain"),
    ("ring", (130, 50, 160), "stripes"),
    ("diamond", (20, 20, 20), "dots"),
)
# corners, and the angle of the first
CORNERS = {"square": (4, math.pi / 4), "triangle": (3, -math.pi / 2), "diamond": (4, 0)}


@dataclass(frozen=True)
class World:
    """Users like a kind, items are of a kind: subject * LOOKS + look.

    user_kind (U,), item_kind (I,); exposure (I,), sum 1; users, items (N,): the distinct clicks.
    """

    user_kind: np.ndarray
    item_kind: np.ndarray
    exposure: np.ndarray
    users: np.ndarray
    items: np.ndarray

    @property
    def subject(self) -> np.ndarray:
        return self.item_kind // LOOKS

    @property
    def look(self) -> np.ndarray:
        return self.item_kind % LOOKS


def draw_world(
    n_users: int,
    n_items: int,
    rng: np.random.Generator,
    fewest: int = FEWEST,
    extra: float = EXTRA,
    pop_spread: float = POP_SPREAD,
) -> World:
    """A World. UserError for too small numbers.

    A user makes fewest + floor(Exp(extra)) clicks, at most MOST and a quarter of the items.
    pop_spread: standard deviation of the logarithm of an item's exposure.
    """
    for name, value, least in (("users", n_users, 20), ("items", n_items, 40)):
        if not least <= value <= 100_000:
            raise UserError(f"--{name} is {value}; wanted {least} to 100000")
    if n_users * n_items > 50_000_000:
        raise UserError(f"{n_users} users x {n_items} items: at most 50 million; this is a sample")
    # each kind has items, also in a small sample
    item_kind = rng.permutation(np.arange(n_items) % KINDS)
    user_kind = rng.integers(KINDS, size=n_users)
    exposure = np.exp(pop_spread * rng.standard_normal(n_items))
    exposure /= exposure.sum()
    counts = fewest + np.floor(rng.exponential(extra, n_users)).astype(int)
    counts = np.minimum(counts, min(MOST, n_items // 4))
    chance = click_odds(item_kind, exposure)[:, item_kind] * exposure  # (KINDS, I)
    score = np.log(chance)[user_kind] + rng.gumbel(size=(n_users, n_items))
    order = np.argsort(-score, axis=1)  # Gumbel top-m: m different items
    users, place = np.nonzero(np.arange(n_items) < counts[:, None])
    return World(user_kind, item_kind, exposure, users, order[users, place])


def click_odds(item_kind: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """(KINDS, KINDS) odds that a user of one kind clicks an item of another kind, beside exposure.

    An item's chance is its odds times its exposure: 1 for a wrong click, else exp(STRENGTH) for
    each of subject and look that match, scaled so that the chances of all items add up to 1.
    """
    subject, look = np.divmod(np.arange(KINDS), LOOKS)
    match = (subject[:, None] == subject).astype(float) + (look[:, None] == look)
    taste = np.exp(STRENGTH * match)
    taste /= (taste * np.bincount(item_kind, exposure, KINDS)).sum(axis=1, keepdims=True)
    return WRONG_CLICKS + (1 - WRONG_CLICKS) * taste


def core_counts(world: World, k: int = 5) -> tuple[Counts, Counts]:
    """Counts of the clicks' k-core, and of all clicks."""
    clicks = coded(world.users, world.items, np.zeros(len(world.users)))
    return k_core(clicks, k)[0].counts(), clicks.counts()


def picture(look: int, rng: np.random.Generator) -> bytes:
    """JPEG bytes of a picture that shows a look; place, size and background vary."""
    from PIL import Image, ImageDraw

    shape, colour, pattern = LOOK_PARTS[look]
    background = tuple(int(level) for level in rng.integers(190, 246, size=3))
    drawn = Image.new("RGB", (SIZE, SIZE), background)
    mask = Image.new("L", (SIZE, SIZE), 0)
    radius = int(rng.integers(34, 50))
    x, y = (int(rng.integers(radius + 2, SIZE - radius - 2)) for _ in range(2))
    outline(ImageDraw.Draw(mask), shape, x, y, radius)
    shade = tuple(int(np.clip(level + rng.integers(-15, 16), 0, 255)) for level in colour)
    fill = Image.new("RGB", (SIZE, SIZE), shade)
    decorate(ImageDraw.Draw(fill), pattern, int(rng.integers(9, 13)))
    drawn.paste(fill, mask=mask)
    out = io.BytesIO()
    drawn.save(out, "JPEG", quality=85)
    return out.getvalue()


def outline(draw, shape: str, x: int, y: int, r: int) -> None:
    """Draw a filled shape of radius r around (x, y)."""
    box = (x - r, y - r, x + r, y + r)
    if shape in ("circle", "ring"):
        draw.ellipse(box, fill=255)
        if shape == "ring":
            draw.ellipse((x - r // 2, y - r // 2, x + r // 2, y + r // 2), fill=0)
    elif shape == "cross":
        draw.rectangle((x - r, y - r // 3, x + r, y + r // 3), fill=255)
        draw.rectangle((x - r // 3, y - r, x + r // 3, y + r), fill=255)
    else:
        corners, turn = CORNERS[shape]
        angles = [turn + 2 * math.pi * step / corners for step in range(corners)]
        draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in angles], fill=255)


def decorate(draw, pattern: str, step: int) -> None:
    """Draw a light pattern over the whole canvas."""
    light = (250, 250, 245)
    if pattern == "stripes":
        for at in range(0, SIZE, step):
            draw.rectangle((at, 0, at + step // 3, SIZE), fill=light)
    elif pattern == "dots":
        for x in range(0, SIZE, step):
            for y in range(0, SIZE, step):
                draw.ellipse((x, y, x + step // 2, y + step // 2), fill=light)
