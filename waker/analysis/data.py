"""The rows of saved runs, read once: everything a report shows comes from here.

Called by :mod:`waker.report.page`. A run that stopped early, or was never evaluated, still has a report: what is
missing becomes an empty table and one sentence in :attr:`RunData.notes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.steps import of_policy
from waker.curriculum.labels import CREDITED, sampler_label, variant_label
from waker.errors import UserError
from waker.names import theta_column
from waker.settings import flat
from waker.storage.files import reading
from waker.storage.manifest import checkpoint_paths
from waker.storage.metrics_file import read_metrics
from waker.storage.run_folder import FILM_FILE, SPACE_FILE, domain_of
from waker.storage.run_search import run_folders
from waker.storage.salvage import lost_in, saved_rows
from waker.storage.sealed import read_arrays, read_json, read_yaml
from waker.terminal.notices import Losses
from waker_envs.file_source import source_name

_ALWAYS = ("names", "hard_ids")
"""What every ``theta_space.json`` has, whatever version wrote it."""
_OF_GROUPS = ("names", "points", "suites", "suite_groups", "group_names")
"""What ``theta_space.json`` has beside ``groups``."""


@dataclass(frozen=True)
class RunData:
    """One run folder's rows.

    Attributes:
        folder: the run folder.
        sampler: what it is called in tables and figures, see :func:`waker.curriculum.labels.sampler_label`.
        config: the resolved configuration beside the run, as a nested dict; empty if there is none.
        metrics: one row for each log of the learner (``step``, ``updates``, metric columns).
        curriculum: rows of θ: probability, estimate, episodes, credits, at each snapshot; of a large space, rows that
            stand for several θ, see :func:`stands_for`.
        evaluation: rows of episodes, see :mod:`waker.evaluation.rollouts`.
        model_error: rows of θ and metric, see :mod:`waker.evaluation.model_error`.
        episodes: rows of training episodes.
        space: content of ``theta_space.json``; empty if there is none.
        film: arrays of ``filmstrip.npz``; empty if there is none.
        notes: what is missing, one sentence each.
        lost: what damage took from it (:func:`waker.storage.salvage.lost_in`), among the notes as well.
    """

    folder: Path
    domain: str
    sampler: str
    explorer: str
    seed: int
    config: dict[str, Any]
    metrics: pd.DataFrame
    curriculum: pd.DataFrame
    evaluation: pd.DataFrame
    model_error: pd.DataFrame
    episodes: pd.DataFrame
    space: dict[str, Any] = field(default_factory=dict)
    film: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``waker-m · seed 0``."""
        return f"{self.sampler} · seed {self.seed}"


def load_runs(folders: Sequence[Path | str]) -> list[RunData]:
    """Every run folder in or under ``folders``, sorted by domain, sampler, explorer and seed.

    Which ones are found: :func:`waker.storage.run_search.run_folders`.

    Raises:
        UserError: a folder that does not exist or holds no run.
    """
    here = run_folders(map(Path, folders), _is_run, "config.yaml or metrics.jsonl")
    found = dict.fromkeys(path.resolve() for path in here)
    runs = [load_run(p) for p in found]
    Losses.told += sum(len(run.lost) for run in runs)  # shown with each run
    return sorted(runs, key=lambda r: (r.domain, r.sampler, r.explorer, r.seed))


def load_run(folder: Path) -> RunData:
    """One run folder; see :class:`RunData`."""
    notes: list[str] = []
    config = read_yaml(folder / "config.yaml") if (folder / "config.yaml").exists() else {}
    tables: dict[str, pd.DataFrame] = {}
    for stem, what in (
        ("metrics", "no learning metrics"),
        ("curriculum", "no snapshots of the curriculum"),
        ("evaluation", "no evaluation (run `waker evaluate`)"),
        ("model_error", "no held-out world-model error (run `waker evaluate`)"),
        ("episodes", "no training episodes"),
    ):
        tables[stem] = _table(folder, stem)
        if tables[stem].empty:
            notes.append(what)
    if not tables["evaluation"].empty and of_policy(tables["evaluation"], "learned").empty:
        notes.append("no task policies (run `waker adapt`), only plans in the model")
    with reading(folder / "config.yaml"):
        identity = _identity(folder, config, tables)
        settings = config.get("config", config)
        plain, label = identity["sampler"], sampler_label(identity["sampler"], settings.get("explorer") or {})
        identity["sampler"] = variant_label(label, settings.get("name") or "")
    if not config and plain in CREDITED:
        notes.append("no settings: whether the published credit or a variant's chose θ is not known")
    film, space = folder / FILM_FILE, folder / SPACE_FILE
    pictures: dict[str, np.ndarray[Any, Any]] = {}
    if film.exists():
        pictures = read_arrays(film)
    else:
        notes.append("no film strip")
    described: dict[str, Any] = {}
    if space.exists():
        described = read_json(space)
        if lacking := [key for key in _ALWAYS if not isinstance(described.get(key), list)]:
            raise UserError(f"{space} is damaged: it lacks {' and '.join(lacking)}; `waker evaluate` writes it anew")
        if described.get("groups") and (missing := sorted(set(_OF_GROUPS) - set(described))):
            raise UserError(f"{space} cannot be read: it has groups and lacks {', '.join(missing)}")
    with reading(folder / "config.yaml"):
        lost = lost_in(folder, config)
    return RunData(
        folder=folder,
        config=config,
        space=described,
        film=pictures,
        notes=(*notes, *lost),
        lost=lost,
        **identity,
        **tables,
    )


def by_domain(runs: Sequence[RunData]) -> list[RunData]:
    """The runs with each domain by itself, so that no table or figure mixes domains whose numbers have other scales.

    A run whose one world model serves several domains (``groups`` in its θ space) becomes one run for each of them,
    called ``<domain>-<name>``, with the rows of its own θ and suites and with the parameters that vary in it; what
    belongs to all of them, the learner's metrics and the film, stays in a last one of the run's own name. Other runs
    stay as they are.
    """
    return [part for run in runs for part in (_parts(run) if run.space.get("groups") else [run])]


def _parts(run: RunData) -> list[RunData]:
    space, empty = run.space, pd.DataFrame()
    groups, points = np.asarray(space["groups"]), np.asarray(space["points"], np.float64)
    suites = dict(zip(space["suites"], space["suite_groups"], strict=True))
    parts = []
    for group, name in enumerate(space["group_names"]):
        varies = np.ptp(points[groups == group], axis=0) > 0
        own = [theta_column(n) for n, v in zip(space["names"], varies, strict=True) if v]
        own = own or [theta_column(space["names"][0])]
        parts.append(
            replace(
                run,
                domain=f"{run.domain}-{name}",
                metrics=empty,
                film={},
                notes=(),
                space={
                    "hard_ids": [i for i in space.get("hard_ids", ()) if groups[i] == group],
                    "sets": {n: [i for i in ids if groups[i] == group] for n, ids in space.get("sets", {}).items()},
                },
                **{
                    table: _of_domain(getattr(run, table), groups, suites, group, own)
                    for table in ("curriculum", "evaluation", "model_error", "episodes")
                },
            )
        )
    return [*parts, replace(run, curriculum=empty, evaluation=empty, model_error=empty, episodes=empty)]


def _of_domain(
    rows: pd.DataFrame, groups: NDArray[np.int64], suites: dict[str, int], group: int, own: Sequence[str]
) -> pd.DataFrame:
    """The rows of one domain, by their θ or else their suite, without the parameters of the others."""
    if rows.empty:
        return rows
    ids = rows["theta_id"].to_numpy(int)
    of_suite = rows["suite"].map(suites).fillna(-1).to_numpy(int) if "suite" in rows else np.full(len(rows), -1)
    here = np.where(ids >= 0, groups[ids], of_suite) == group
    foreign = [c for c in rows if c.startswith("theta_") and c not in (*own, "theta_id")]
    return rows[here].drop(columns=foreign).reset_index(drop=True)


def hard_ids(runs: Sequence[RunData]) -> list[int]:
    """The ids of the θ that the family's experts call hard."""
    return next((list(r.space["hard_ids"]) for r in runs if r.space.get("hard_ids")), [])


def hard_thetas(runs: Sequence[RunData]) -> pd.DataFrame:
    """The θ that the family's experts call hard, a row each with columns ``theta_<name>``; none where it has none."""
    space = next((run.space for run in runs if run.space.get("hard_ids") and run.space.get("points")), None)
    if space is None:
        return pd.DataFrame()
    points = [space["points"][i] for i in space["hard_ids"]]
    return pd.DataFrame(points, columns=[theta_column(name) for name in space["names"]])


def theta_sets(runs: Sequence[RunData]) -> dict[str, list[int]]:
    """The θ that the family tells apart, ids by name: ``hard``, and its own sets (older runs have none)."""
    named: dict[str, list[int]] = next((r.space["sets"] for r in runs if r.space.get("sets")), {})
    return {"hard": hard_ids(runs), **{name: list(ids) for name, ids in named.items()}}


def last_step(run: RunData) -> int | None:
    """The last agent step that any of the run's rows tells: metrics are logged now and then, not at the end.

    None where no row has one.
    """
    tables = (run.metrics, run.curriculum, run.evaluation, run.model_error, run.episodes)
    steps = [int(rows["step"].max()) for rows in tables if "step" in rows and rows["step"].notna().any()]
    return max(steps, default=None)


def settings_of(run: RunData) -> dict[str, Any]:
    """The run's settings by dotted name; empty if it has none."""
    settings = run.config.get("config", run.config)
    return flat(settings) if isinstance(settings, dict) and settings else {}


def ends_of(run: RunData) -> dict[int, int]:
    """Where a run that went on had ended before → the agent steps that were asked for then."""
    went_on = [entry for entry in run.config.get("extended") or () if "train.steps" in entry and "step" in entry]
    return {int(entry["step"]): int(entry["train.steps"][0]) for entry in went_on}


def stands_for(rows: pd.DataFrame) -> pd.Series:
    """How many θ each row stands for: column ``thetas`` (:mod:`waker.curriculum.thinning`), 1 where there is none."""
    return rows["thetas"].fillna(1.0) if "thetas" in rows else pd.Series(1.0, index=rows.index)


def theta_names(*tables: pd.DataFrame) -> list[str]:
    """θ's names in the rows' order: the columns ``theta_<name>``, ``theta_id`` apart."""
    for table in tables:
        names = [c.removeprefix("theta_") for c in table.columns if c.startswith("theta_") and c != "theta_id"]
        if names:
            return names
    return []


def check_told_apart(runs: Sequence[RunData]) -> None:
    """Refuse runs that nothing tells apart.

    Raises:
        UserError: two runs of the same domain, sampler, explorer and seed.
    """
    known: dict[tuple[str, str, str, int], Path] = {}
    for run in runs:
        other = known.setdefault((run.domain, run.sampler, run.explorer, run.seed), run.folder)
        if other != run.folder:
            raise UserError(
                f"{other} and {run.folder} are both {run.domain}, {run.sampler}, {run.explorer}, seed {run.seed}: "
                "their rows cannot be told apart; name only one of them, or the settings that differ by --by"
            )


def stack(runs: Sequence[RunData], table: str) -> pd.DataFrame:
    """One table of all runs with columns ``sampler``, ``explorer``, ``seed`` and ``group`` set from the run.

    ``group`` names what the seeds of a comparison share: the sampler, and the explorer where runs differ in it.

    Raises:
        UserError: two runs of the same domain, sampler, explorer and seed, whose rows nothing would tell apart.
    """
    check_told_apart(runs)
    many = len({r.explorer for r in runs}) > 1
    parts = []
    for run in runs:
        rows: pd.DataFrame = getattr(run, table)
        if rows.empty:
            continue
        group = f"{run.sampler} ({run.explorer})" if many else run.sampler
        identity = {"domain": run.domain, "sampler": run.sampler, "explorer": run.explorer, "seed": run.seed}
        parts.append(rows.assign(**identity, group=group))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def latest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last measured step."""
    if rows.empty or "step" not in rows:
        return rows
    keys = [c for c in ("domain", "sampler", "explorer", "seed") if c in rows]
    if not keys:
        return rows[rows["step"] == rows["step"].max()]
    return rows[rows["step"] == rows.groupby(keys)["step"].transform("max")]


def _is_run(folder: Path) -> bool:
    files = ("config.yaml", "metrics.jsonl")
    return any((folder / name).exists() for name in files) or bool(checkpoint_paths(folder / "checkpoints"))


def _table(folder: Path, stem: str) -> pd.DataFrame:
    """``stem``.parquet, .jsonl or .csv, whichever is there; empty if none is."""
    for ending, read in ((".parquet", saved_rows), (".jsonl", read_metrics), (".csv", pd.read_csv)):
        if (path := folder / f"{stem}{ending}").exists():
            with reading(path):
                return pd.DataFrame(read(path))
    return pd.DataFrame()


def _identity(folder: Path, config: dict[str, Any], tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Domain, sampler, explorer and seed: from any row, else the configuration, else the folder's place."""
    for rows in tables.values():
        if not rows.empty and {"domain", "sampler", "explorer", "seed"} <= set(rows.columns):
            first = rows.iloc[0]
            return {k: str(first[k]) for k in ("domain", "sampler", "explorer")} | {"seed": int(first["seed"])}
    place = dict(zip(("explorer", "sampler", "domain"), [*(p.name for p in folder.parents), "", "", ""], strict=False))
    settings = config.get("config", config)
    number = folder.name.rpartition("-")[2]
    seed = settings.get("seed", int(number) if number.isdigit() else 0)
    sampler = source_name((settings.get("curriculum") or {}).get("sampler", place["sampler"]))
    explorer = source_name((settings.get("explorer") or {}).get("name", place["explorer"]))
    domain = domain_of(str(settings["env"])) if "env" in settings else place["domain"]
    return {"domain": domain, "sampler": sampler, "explorer": explorer, "seed": int(seed)}
