"""Times as whole numbers of one unit, whatever the source writes: counts since 1970, or dates."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from ld4mrec.errors import UserError

# Counts since 1970 are told by their size: seconds until the year 5138, milliseconds from 1973 on.
UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))
FIRST_SECOND = 1e8  # smaller numbers are places in an order, or years: no unit is known
DIVISOR = {"us": 1_000, "ns": 1_000_000}
SHOWN = 3


class Times:
    """Reads columns of times; the first block decides how, and then it stays so.

    how: as strptime writes it, None for ISO 8601. unit: "s", "ms", or None where the numbers are no
    times that are known.
    """

    def __init__(self, source: str, column: str, how: str | None = None):
        self.source, self.column, self.how = source, column, how
        self.kind: str | None = None  # number, fraction or date
        self.unit: str | None = None
        self._divisor = 1

    def read(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 times, and a mask (n,) of those that are none."""
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            self._decide("date", "ms")
            values = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
            return values.fill_null(0).to_numpy(zero_copy_only=False), _nulls(column)
        if self.kind is None:
            self._look(column)
        if self.kind == "date":
            return self._dates(column)
        try:
            values, absent = column.cast(pa.int64()).to_numpy(zero_copy_only=False), None
            absent = np.zeros(len(values), dtype=bool)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            numbers = _numbers(column)
            absent = ~np.isfinite(numbers) | (np.abs(numbers) >= 2**63)
            numbers[absent] = 0
            if self.kind == "fraction":
                return np.round(numbers * 1000).astype(np.int64), absent
            values = numbers.astype(np.int64)
        if self.kind == "fraction":
            return values * 1000, absent
        return values // self._divisor, absent

    def _look(self, column):
        some = column.slice(0, 10_000)
        numbers = _numbers(some)
        there = np.isfinite(numbers)
        if self.how is None and there.mean() > 0.5:
            numbers = numbers[there]
            size = float(np.median(np.abs(numbers)))
            unit = next(name for limit, name in UNITS if size < limit)
            if size < FIRST_SECOND:
                self._decide("number", None)
            elif unit == "s" and (numbers % 1 != 0).any():
                self._decide("fraction", "ms")
            else:
                self._divisor = DIVISOR.get(unit, 1)
                self._decide("number", "ms" if unit in DIVISOR else unit)
            return
        self.kind = "date"
        if self._dates(some)[1].mean() > 0.5:
            shown = ", ".join(repr(value) for value in some.slice(0, SHOWN).to_pylist())
            wanted = f"--time-format {self.how}" if self.how else "numbers or ISO 8601"
            raise UserError(
                f"{self.source}, column {self.column}: {shown}, ... are no times by {wanted}; say "
                "--time-format, such as --time-format '%d.%m.%Y %H:%M' (%d day, %m month, %Y year)"
            )
        self._decide("date", "ms")

    def _decide(self, kind, unit):
        self.kind, self.unit = kind, unit

    def _dates(self, column):
        codes, distinct = pd.factorize(np.asarray(column.cast(pa.string()), dtype=object))
        read = pd.to_datetime(
            pd.Series(distinct, dtype=object),
            format=self.how or "ISO8601",
            errors="coerce",
            utc=True,
        )
        absent = read.isna().to_numpy()
        values = read.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
        values[absent] = 0
        values, absent = np.append(values, 0), np.append(absent, True)  # code -1: null
        return values[codes], absent[codes]

    def bounds(self, since: str | None, until: str | None) -> tuple[int | None, int | None]:
        """The window's ends in this unit. UserError for no day, or times of no known unit."""
        if (since or until) and self.unit is None:
            raise UserError(
                f"--from and --to: column {self.column} of {self.source} has no times that are "
                "known (small numbers); leave them out"
            )
        factor = 1000 if self.unit == "ms" else 1
        ends = (None if day is None else _midnight(day) * factor for day in (since, until))
        return tuple(ends)

    def in_seconds(self, values: np.ndarray) -> np.ndarray:
        """Dates in seconds where none has a fraction of one; else the values as they are."""
        if self.kind == "date" and self.unit == "ms" and not (values % 1000).any():
            self.unit = "s"
            return values // 1000
        return values


def _midnight(day):
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())


def _numbers(column):
    """(n,) float64, NaN for what is no number."""
    texts = column.cast(pa.string())
    return pd.to_numeric(pd.Series(np.asarray(texts, dtype=object)), errors="coerce").to_numpy(
        dtype=np.float64, copy=True
    )


def _nulls(column):
    return column.is_null().to_numpy(zero_copy_only=False)
