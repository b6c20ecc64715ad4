"""A paper machine of our own, simulated: what the demo and the tests run on, so that they need no outside data.

The machine has what makes real ones hard. Sensors move together (a few slow disturbances reach many of them), levels
drift away from where they were when a model was fitted, grades change, some sensors go dead or jump wildly, the sheet
breaks about four times a day and the rows of the down time are simply absent. A break announces itself, if at all, in
the *differences* and the volatility of some sensors of one section, minutes ahead and at a strength that varies from
plain to nothing; similar unrest now and then passes without a break. So a detector can pay here, but never be perfect.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

TIME_COLUMN = "time"
LABEL_COLUMN = "y"
ASSET_COLUMN = "asset"
GRADES = (48.0, 52.0, 60.0, 70.0, 80.0, 96.0)
"""Grammage in g/m2 of the grades that the machine makes; the column `grade` holds the present one."""


@dataclass(frozen=True)
class Sensor:
    """One tag: typical `level` and `spread` (one standard deviation) in its own unit."""

    name: str
    section: str
    level: float
    spread: float


SENSORS = (
    Sensor("stock_flow", "stock", 310.0, 9.0),  # l/s
    Sensor("stock_consistency", "stock", 3.2, 0.08),  # %
    Sensor("stock_temperature", "stock", 46.0, 1.2),  # C
    Sensor("stock_ph", "stock", 7.4, 0.12),
    Sensor("retention_aid", "stock", 0.42, 0.03),  # kg/t
    Sensor("headbox_pressure", "headbox", 182.0, 4.0),  # kPa
    Sensor("headbox_level", "headbox", 61.0, 1.5),  # %
    Sensor("jet_wire_ratio", "headbox", 1.012, 0.004),
    Sensor("slice_opening", "headbox", 11.5, 0.3),  # mm
    Sensor("wire_tension", "wire", 6.8, 0.2),  # kN/m
    Sensor("wire_vacuum_1", "wire", -21.0, 1.1),  # kPa
    Sensor("wire_vacuum_2", "wire", -34.0, 1.4),
    Sensor("couch_vacuum", "wire", -58.0, 2.0),
    Sensor("press_draw", "press", 2.1, 0.09),  # %
    Sensor("press_load_1", "press", 72.0, 1.6),  # kN/m
    Sensor("press_load_2", "press", 95.0, 1.9),
    Sensor("felt_vacuum", "press", -44.0, 1.7),
    Sensor("felt_moisture", "press", 41.0, 1.3),  # %
    Sensor("dryer_draw", "dryer", 0.62, 0.05),
    Sensor("steam_1", "dryer", 88.0, 3.0),  # kPa
    Sensor("steam_2", "dryer", 134.0, 4.0),
    Sensor("steam_3", "dryer", 187.0, 5.0),
    Sensor("steam_4", "dryer", 221.0, 5.5),
    Sensor("hood_humidity", "dryer", 152.0, 5.0),  # g/kg
    Sensor("reel_speed", "reel", 1014.0, 6.0),  # m/min
    Sensor("reel_tension", "reel", 0.31, 0.012),  # kN/m
    Sensor("reel_moisture", "reel", 7.6, 0.25),  # %
    Sensor("basis_weight", "reel", 62.0, 0.5),  # g/m2
    Sensor("caliper", "reel", 86.0, 1.1),  # um
    Sensor("edge_camera", "reel", 14.0, 2.0),  # defects/min
)
SECTIONS = tuple(dict.fromkeys(sensor.section for sensor in SENSORS))

DISTURBANCE_HOURS = (0.6, 1.0, 1.8, 3.0, 6.0, 12.0)
"""Correlation times of the disturbances that reach many sensors."""
OWN_HOURS = (0.5, 4.0)
NOISE = (0.04, 0.10)
"""White measurement noise, in spreads: the smallest and the largest of any sensor."""
DRIFT_PER_DAY = 0.35
"""Step of the random walk of each level after a day, in spreads: after a month levels say little."""

MEAN_HOURS_BETWEEN_BREAKS = 6.0
UPTIME_SHAPE = 0.8
"""Weibull shape of the times between breaks; below 1 breaks cluster, as they do on real machines."""
DOWN_MINUTES = (6.0, 90.0)
STARTUP_MINUTES = 14.0
STANDS_FROM_HOUR, STANDS_UNTIL_HOUR, STANDS_EVERY_DAYS = 22, 6, 3
"""With standstills the machine stands still every third night (UTC); the first is that of the third day."""
STANDING_LEVEL = 0.2
"""What the sensors of a machine that stands still read, in parts of their usual level."""
STANDING_NOISE = 2.0
"""In spreads: valves are tried, vessels cool down, people walk past."""

PRECURSOR_MINUTES = (6.0, 16.0)
PRECURSOR_STRENGTHS = ((0.40, 4.5), (0.30, 2.4), (0.15, 1.2), (0.15, 0.0))
"""(share of the breaks, strength in standard deviations of a sensor's differences); 0 comes out of the blue."""
UNREST_PER_DAY = 1.0
"""Unrest of medium strength that passes without a break: what a detector should ignore and cannot always."""

OWN_LEVELS = (0.5, 1.6)
"""Of several machines, the levels of each, in parts of the usual ones."""
MACHINE_GAIN, SENSOR_GAIN = 4.0, 3.0
"""By so much at most do the sensors of one machine swing more or less than usual, all of them and each of them."""

NEW_GRADE = 120.0
"""Grammage in g/m2 of a grade that is made from a change of the machine on, half of the time."""
NEW_GRADE_SPREADS = 2.0
"""How far its set points lie from the others', one standard deviation."""
REPLACED_SECTION, REPLACED_GAIN = "dryer", 1.8
"""The sensors of this section are others after a change, and read swings so many times as large."""
NEW_SIGNATURE_SECTION = "press"
"""After a change breaks announce themselves here alone."""


@dataclass(frozen=True)
class Simulation:
    """What to simulate. The same values give the same file, byte for byte.

    `start` is the time of the first row; it lies in the past so that a replay never looks like a clock ahead of time.
    `standstills`: some nights the machine stands still, and whenever it is down its sensors go on reporting.
    `change_day`: days after the start the machine is changed: a new grade, other sensors in the dryer, and breaks that
    announce themselves in the press alone. Until then the file is the same as without.
    `machines`: more than one are of a kind: they are built alike, run each by itself, and every sensor of each has its
    own level and its own gain.
    """

    days: float = 28.0
    seed: int = 7
    step_seconds: float = 120.0
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    standstills: bool = False
    change_day: float | None = None
    machines: int = 1

    def __post_init__(self) -> None:
        if self.machines < 1:
            raise UsageError(f"--machines is {self.machines}; give a number from 1 on, e.g. 6")
        if self.step_seconds <= 0:
            raise UsageError(f"--step-seconds is {self.step_seconds:g}; give a number above 0, e.g. 120")
        if self.steps < 100:
            raise UsageError(
                f"--days {self.days:g} at --step-seconds {self.step_seconds:g} is {self.steps} rows; "
                "give at least 100 rows, e.g. --days 28"
            )

    @property
    def steps(self) -> int:
        """Rows before those of the down times are taken away."""
        return int(self.days * 86_400 / self.step_seconds)

    @property
    def change_step(self) -> int:
        """First step of the changed machine; beyond the last one where nothing changes."""
        return self.steps if self.change_day is None else int(self.change_day * 86_400 / self.step_seconds)


def simulate(plan: Simulation) -> "pd.DataFrame":
    """The machine's history in wide form: `time` (ISO 8601, UTC), `y` (1 in the row of a break), one column a sensor,
    then `grade` (a code) and `broke_pump` (0 or 1). Rows of the down time after a break are absent; with standstills
    they are there, and `reel_speed` is about 0 in them. NaN = dead sensor. Of several machines there is a column
    `asset` behind `y`, and their rows lie one machine after another.
    """
    import pandas as pd

    if plan.machines == 1:
        return _machine(plan, np.random.default_rng(plan.seed), None)
    tables = []
    for number in range(1, plan.machines + 1):
        table = _machine(plan, np.random.default_rng((plan.seed, 2, number)), number)
        table.insert(2, ASSET_COLUMN, f"PM{number}")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _machine(plan: Simulation, generator: np.random.Generator, number: int | None) -> "pd.DataFrame":
    """The history of one machine. number: of one among several; None: it is alone."""
    import pandas as pd

    breaks, running = _schedule(plan, generator)
    if plan.standstills:
        running &= ~_nights(plan)
        breaks = breaks[running[breaks]]
    since_start = _steps_since_start(running)
    grade = _grades(plan, generator)

    # Machines of a kind are built from the same draws.
    build = generator if number is None else np.random.default_rng((plan.seed, 3))
    normal = _normal_running(plan, grade, generator, build)
    difference_spread = np.diff(normal, axis=0).std(axis=0)
    new_grade = _make_a_new_grade(normal, grade, plan)
    _add_startups(normal, since_start, difference_spread, plan, generator)
    _add_precursors(normal, breaks, since_start, difference_spread, plan, generator)
    _add_unrest(normal, running, difference_spread, plan, generator)
    level, gain = _own_scale(plan, number)
    values = level + gain * np.array([s.spread for s in SENSORS]) * normal
    _replace_sensors(values, plan)
    _add_outliers(values, plan, generator)
    _add_dead_sensors(values, plan, generator)

    kept = running
    if plan.standstills:
        _stand_still(values, running, generator)
        kept = np.ones_like(running)
    table = {
        TIME_COLUMN: _iso(_epoch(plan)[kept]),
        LABEL_COLUMN: np.isin(np.arange(plan.steps), breaks)[kept].astype(np.int64),
    }
    table |= {sensor.name: _shorten(values[kept, i], sensor.spread) for i, sensor in enumerate(SENSORS)}
    table["grade"] = np.where(new_grade, NEW_GRADE, np.asarray(GRADES)[grade])[kept]
    table["broke_pump"] = (since_start[kept] * plan.step_seconds < 20 * 60).astype(np.float64)
    return pd.DataFrame(table)


def _own_scale(plan: Simulation, number: int | None) -> tuple[Floats, Floats]:
    """(F,) levels of the sensors of one machine, and by how much they swing more than usual."""
    level = np.array([sensor.level for sensor in SENSORS])
    if number is None:
        return level, np.ones(len(SENSORS))
    own = np.random.default_rng((plan.seed, 4, number))
    level = level * own.uniform(*OWN_LEVELS, len(SENSORS))
    gain = np.log(MACHINE_GAIN) * own.uniform(-1, 1) + np.log(SENSOR_GAIN) * own.uniform(-1, 1, len(SENSORS))
    return level, np.exp(gain)


def _epoch(plan: Simulation) -> Floats:
    """(N,) times of the steps, epoch seconds."""
    times: Floats = plan.start.timestamp() + np.arange(plan.steps, dtype=np.float64) * plan.step_seconds
    return times


def _nights(plan: Simulation) -> NDArray[np.bool_]:
    """(N,) steps of the nights in which the machine stands still; a night belongs to the day that it begins on."""
    hour = np.floor(_epoch(plan) / 3600).astype(np.int64)
    night = (hour % 24 >= STANDS_FROM_HOUR) | (hour % 24 < STANDS_UNTIL_HOUR)
    since = (hour - STANDS_UNTIL_HOUR) // 24 - int(plan.start.timestamp()) // 86_400
    return np.asarray(night & (since % STANDS_EVERY_DAYS == STANDS_EVERY_DAYS - 1))


def _stand_still(values: Floats, running: NDArray[np.bool_], generator: np.random.Generator) -> None:
    """What the sensors (N, F) read while the machine is down, dead ones apart."""
    level = np.array([sensor.level for sensor in SENSORS])
    spread = np.array([sensor.spread for sensor in SENSORS])
    standing = STANDING_LEVEL * level + STANDING_NOISE * spread * generator.standard_normal(
        (values.shape[0], len(level))
    )
    speed = [sensor.name for sensor in SENSORS].index("reel_speed")
    standing[:, speed] = np.abs(generator.standard_normal(values.shape[0]))
    still = ~running[:, None] & ~np.isnan(values)
    values[still] = standing[still]


def write(table: "pd.DataFrame", path: Path) -> None:
    """Write the table as Parquet or CSV (`.csv.gz` compressed), by the name's ending.

    Raises:
        UsageError: the ending is none of these, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        elif path.name.endswith((".csv", ".csv.gz")):
            table.to_csv(path, index=False)
        else:
            raise UsageError(f"{path}: the file's name ends in none of .csv, .csv.gz, .parquet; choose one of them")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _schedule(plan: Simulation, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Steps of the breaks, and for each step whether the machine runs (the row of a break still counts)."""
    from scipy.special import gamma

    running = np.ones(plan.steps, dtype=bool)
    scale = MEAN_HOURS_BETWEEN_BREAKS / gamma(1 + 1 / UPTIME_SHAPE)
    breaks: list[int] = []
    step = 0
    while True:
        up = max(scale * generator.weibull(UPTIME_SHAPE), 0.2)
        step += int(up * 3600 / plan.step_seconds) + 1
        if step >= plan.steps:
            return np.array(breaks, dtype=np.int64), running
        low, high = np.log(DOWN_MINUTES)
        down = int(np.exp(generator.uniform(low, high)) * 60 / plan.step_seconds) + 1
        breaks.append(step)
        running[step + 1 : step + 1 + down] = False
        step += down


def _steps_since_start(running: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) steps since the machine last came up; 0 in its first row (and while it is down)."""
    index = np.arange(running.size)
    last_down = np.maximum.accumulate(np.where(running, -1, index))
    return np.where(running, index - last_down - 1, 0)


def _grades(plan: Simulation, generator: np.random.Generator) -> NDArray[np.int64]:
    """(N,) index of the grade in production; it changes about every ten hours."""
    changes = generator.random(plan.steps) < plan.step_seconds / (10 * 3600)
    return generator.integers(0, len(GRADES), plan.steps)[
        np.maximum.accumulate(np.where(changes, np.arange(plan.steps), 0))
    ]


def _autoregressive(hours: Floats, steps: int, step_seconds: float, generator: np.random.Generator) -> Floats:
    """(N, K) first-order autoregressive series of unit variance, one column for each correlation time."""
    from scipy.signal import lfilter

    keep = np.exp(-step_seconds / (hours * 3600))
    shocks = generator.standard_normal((steps, hours.size)) * np.sqrt(1 - keep**2)
    shocks[0] /= np.sqrt(1 - keep**2)
    return np.stack([lfilter([1.0], [1.0, -k], shocks[:, i]) for i, k in enumerate(keep)], axis=1)


def _normal_running(
    plan: Simulation, grade: NDArray[np.int64], generator: np.random.Generator, build: np.random.Generator
) -> Floats:
    """(N, F) undisturbed values in spreads: shared disturbances, grade set points, drift, own movement and noise.

    build: draws how the machine is built, where `generator` draws how it runs.
    """
    from scipy.signal import lfilter

    steps, sensors = plan.steps, len(SENSORS)
    section = np.array([SECTIONS.index(s.section) for s in SENSORS])

    shared = _autoregressive(np.array(DISTURBANCE_HOURS), steps, plan.step_seconds, generator)
    by_section = build.normal(0, 0.35, (shared.shape[1], len(SECTIONS)))
    values = shared @ (by_section[:, section] + build.normal(0, 0.2, (shared.shape[1], sensors)))

    # Set points follow a grade change over some twenty minutes.
    set_points = build.normal(0, 0.8, (len(GRADES), sensors))
    ramp = np.exp(-plan.step_seconds / (20 * 60))
    values += lfilter([1 - ramp], [1.0, -ramp], set_points[grade] - set_points[grade[0]], axis=0)

    walk = generator.standard_normal((steps, sensors)) * DRIFT_PER_DAY * np.sqrt(plan.step_seconds / 86_400)
    values += np.cumsum(walk, axis=0)

    own_hours = build.uniform(*OWN_HOURS, sensors)
    values += 0.3 * _autoregressive(own_hours, steps, plan.step_seconds, generator)

    # Noise is louder in some hours than in others, a whole section at a time.
    loudness = np.exp(0.25 * _autoregressive(np.full(len(SECTIONS), 2.0), steps, plan.step_seconds, generator))
    noise = generator.standard_normal((steps, sensors)) * build.uniform(*NOISE, sensors)
    return np.asarray(values + noise * loudness[:, section])


def _make_a_new_grade(values: Floats, grade: NDArray[np.int64], plan: Simulation) -> NDArray[np.bool_]:
    """Half of what is made after the change is of a grade of its own; (N,) where. `values`: (N, F) in spreads."""
    made: NDArray[np.bool_] = (np.arange(plan.steps) >= plan.change_step) & (grade % 2 == 0)
    # From a generator of its own: what comes before the change is the same without it.
    set_points = np.random.default_rng((plan.seed, 1)).normal(0, NEW_GRADE_SPREADS, values.shape[1])
    share = np.zeros(plan.steps)
    if made.any():
        from scipy.signal import lfilter

        ramp = np.exp(-plan.step_seconds / (20 * 60))
        share = lfilter([1 - ramp], [1.0, -ramp], made.astype(np.float64))
    values += share[:, None] * set_points
    return made


def _replace_sensors(values: Floats, plan: Simulation) -> None:
    """Other sensors in one section read the same levels (N, F), and larger swings."""
    replaced = np.array([sensor.section == REPLACED_SECTION for sensor in SENSORS])
    level = np.array([sensor.level for sensor in SENSORS])[replaced]
    after = values[plan.change_step :]
    after[:, replaced] = level + REPLACED_GAIN * (after[:, replaced] - level)


def _add_startups(
    values: Floats, since_start: NDArray[np.int64], spread: Floats, plan: Simulation, generator: np.random.Generator
) -> None:
    """A machine that has just come up is restless; it calms down exponentially."""
    calm = np.exp(-since_start * plan.step_seconds / (STARTUP_MINUTES * 60 / 3))
    began_with_file = np.arange(calm.size) == since_start
    rows = np.flatnonzero((since_start > 0) & (calm > 0.01) & ~began_with_file)
    values[rows] += 1.5 * calm[rows, None] * spread * generator.standard_normal((rows.size, values.shape[1]))


def _disturb(
    values: Floats,
    first: int,
    last: int,
    strength: float,
    spread: Floats,
    generator: np.random.Generator,
    only: str | None = None,
) -> None:
    """Unrest that grows from step `first` to `last` in some sensors of one section, and faintly in its neighbours.

    `only`: in this section, whatever the chance says.
    """
    section = generator.choice(SECTIONS)
    section = section if only is None else only
    within = np.array([s.section == section for s in SENSORS])
    weight = np.where(within, generator.uniform(0.4, 1.2, within.size), 0.0)
    weight[generator.integers(0, within.size, 3)] += 0.4
    growth = np.linspace(0.25, 1.0, last - first + 1) ** 1.5
    swing = generator.standard_normal((growth.size, within.size)) + generator.choice(
        (-1.0, 1.0), within.size
    ) * np.where(np.arange(growth.size) % 2, 1.0, -1.0).reshape(-1, 1)
    values[first : last + 1] += strength * growth[:, None] * weight * spread * swing


def _add_precursors(
    values: Floats,
    breaks: NDArray[np.int64],
    since_start: NDArray[np.int64],
    spread: Floats,
    plan: Simulation,
    generator: np.random.Generator,
) -> None:
    shares, strengths = np.array(PRECURSOR_STRENGTHS).T
    for step in breaks:
        strength = generator.choice(strengths, p=shares) * generator.uniform(0.7, 1.3)
        minutes = generator.uniform(*PRECURSOR_MINUTES)
        length = min(max(int(minutes * 60 / plan.step_seconds), 2), int(since_start[step]))
        only = NEW_SIGNATURE_SECTION if step >= plan.change_step else None
        _disturb(values, int(step) - length, int(step), strength, spread, generator, only)


def _add_unrest(
    values: Floats, running: NDArray[np.bool_], spread: Floats, plan: Simulation, generator: np.random.Generator
) -> None:
    for _ in range(generator.poisson(UNREST_PER_DAY * plan.days)):
        first = int(generator.integers(0, running.size))
        length = max(int(generator.uniform(*PRECURSOR_MINUTES) * 60 / plan.step_seconds), 2)
        _disturb(values, first, min(first + length, running.size - 1), generator.uniform(0.8, 2.6), spread, generator)


def _add_outliers(values: Floats, plan: Simulation, generator: np.random.Generator) -> None:
    """Single wild values, about one a day, in the five sensors that are prone to them."""
    prone = generator.choice(len(SENSORS), 5, replace=False)
    count = generator.poisson(plan.days)
    rows = generator.integers(0, values.shape[0], count)
    columns = generator.choice(prone, count)
    spread = np.array([s.spread for s in SENSORS])[columns]
    values[rows, columns] += generator.choice((-1.0, 1.0), count) * generator.uniform(15, 60, count) * spread


def _add_dead_sensors(values: Floats, plan: Simulation, generator: np.random.Generator) -> None:
    """Some sensors report nothing for hours, and single values go missing."""
    values[generator.random(values.shape) < 0.0005] = np.nan
    for _ in range(generator.poisson(0.2 * plan.days)):
        first = int(generator.integers(0, values.shape[0]))
        length = int(generator.uniform(1.0, 8.0) * 3600 / plan.step_seconds)
        values[first : first + length, generator.integers(0, values.shape[1])] = np.nan


def _shorten(column: Floats, spread: float) -> Floats:
    """A historian keeps few digits: a thousandth of the spread is more than any sensor resolves."""
    return np.round(column, int(np.ceil(3 - np.log10(spread))))


def _iso(epoch: Floats) -> list[str]:
    """Epoch seconds as ISO 8601 text; with a fraction only where steps have one."""
    whole = bool(np.all(epoch == np.floor(epoch)))
    moments = (epoch * 1e6).round().astype("datetime64[us]")
    return [f"{text}Z" for text in np.datetime_as_string(moments, unit="s" if whole else "us")]
