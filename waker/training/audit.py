"""An audit of a learned reward: what it pays for, which answers it contradicts, what edits turn it, what makes it fail.

SEAL's measures (Revel et al. 2024, arXiv 2408.10270) on a run: :mod:`waker.preferences.imprint` and
:mod:`waker.preferences.resistance` have the mathematics, :mod:`.audit_steps` what they are of. Called by ``waker
audit``; :mod:`waker.report.audit_page` shows it. Nothing is written to the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.errors import UserError, unknown
from waker.preferences import table
from waker.preferences.imagined import segments_in
from waker.preferences.imprint import (
    Imprint,
    checked_design,
    combinations,
    constant_features,
    imprints,
    reward_shift,
    standardised,
)
from waker.preferences.linear import summed
from waker.preferences.queries import Pairs, uniform_pairs
from waker.preferences.resistance import four_classes, turned, untied
from waker.preferences.segments import arrived, candidates, joined
from waker.preferences.teachers import preferred
from waker.replay.ring import Replay
from waker.seeding import seed_for, stream
from waker.storage.files import sha256
from waker.training.audit_features import AuditFeatures
from waker.training.audit_results import (
    BEFORE,
    HEAD,
    SHIFT,
    TRUE,
    Audit,
    Constant,
    constant_of,
    differences,
    unit_of,
)
from waker.training.audit_steps import Steps, edited, excerpt, replay_steps, segment_sums
from waker.training.audit_theta import ThetaAudit
from waker.training.audited_head import AuditedHead, find_head
from waker.training.loading import LoadedRun

Floats = NDArray[np.float64]
_FEW_ROOMS = 40
"""Rooms below which intervals over them are told as rough (docs/audit.md has what they hold)."""
_LENGTH = 8


@dataclass(frozen=True)
class AuditSettings:
    """What an audit looks at.

    Attributes:
        head: the task whose head it is; empty = the one taught by preferences last.
        before: the task whose head it is compared with; empty = the head's own beginning.
        task: the environment's task that is the truth; empty = the head's own, or none.
        preferences: file of answers; None = that which the head was taught by.
        steps: of the replay, at most.
        pairs: new pairs, labelled by the truth.
        length: steps of a segment of these; None = that of the answers, or 8.
        seed: of what is drawn.
    """

    head: str = ""
    before: str = ""
    task: str = ""
    preferences: Path | None = None
    steps: int = 20_000
    pairs: int = 1_000
    length: int | None = None
    seed: int = 0


def audit(
    loaded: LoadedRun,
    replay: Replay,
    features: AuditFeatures,
    settings: AuditSettings,
    note: Callable[[str], None],
    head: AuditedHead | None = None,
) -> Audit:
    """Audit a head of a run.

    Args:
        features: what it is looked at by.
        note: told of damaged checkpoints.
        head: None = as the settings name it.

    Raises:
        UserError: no such head, task or feature; features that fail, or that nobody can tell apart.
    """
    spec = loaded.family.spec
    head = head or find_head(loaded, settings.head, settings.before, note)
    task = settings.task or (head.name if head.name in spec.tasks else "")
    if task and task not in spec.tasks:
        raise unknown("task", task, spec.tasks)
    made = _Maker(loaded, replay, features, settings, head, task, note)
    imprint, constant = made.imprint()
    resistance = made.resistance()
    robustness = made.robustness()
    theta = ThetaAudit(loaded, head, features, task, made.notes, made.about).rows()
    frame = pd.DataFrame([one._asdict() for one in [*imprint, *made.shift]], columns=list(Imprint._fields))
    frame.insert(3, "tag", [features.tag(name.partition(": ")[2] or name) for name in frame["feature"]])
    return Audit(
        made.about, frame, constant, pd.DataFrame(resistance), pd.DataFrame(robustness), pd.DataFrame(theta), made.notes
    )


class _Maker:
    """The parts of an audit, in their order."""

    def __init__(
        self,
        loaded: LoadedRun,
        replay: Replay,
        features: AuditFeatures,
        settings: AuditSettings,
        head: AuditedHead,
        task: str,
        note: Callable[[str], None],
    ) -> None:
        self.loaded, self.replay, self.features, self.settings = loaded, replay, features, settings
        self.head, self.task, self._note = head, task, note
        self.spec = loaded.family.spec
        self.payers = {HEAD: head.now, BEFORE: head.before}
        self.shift: list[Imprint] = []
        self.notes: list[str] = []
        self.about: dict[str, Any] = {
            "run": loaded.run.name,
            "step": loaded.step,
            "head": head.name,
            "taught by": "preferences" if head.preferences else "rewards",
            "before": head.before_name,
            "task": task,
            "features": features.source,
        }
        if not task:
            self.notes.append(
                "what the task is worth in truth is not known (--task names the environment's task that it is): no "
                "imprint of the true reward, no new pairs, no edits"
            )

    # Imprint ------------------------------------------------------------------------------------------------------

    def imprint(self) -> tuple[list[Imprint], Constant | None]:
        """Imprints of the rewards on the replay's steps, and the head's constant."""
        seed = seed_for(self.settings.seed, "evaluation")
        steps = replay_steps(self.loaded, self.replay, self.features, self.payers, self.settings.steps, seed)
        self.features.check_names(steps.features, self.features.of_theta(self._probe()))
        self.about |= {"steps": steps.n, steps.unit: steps.rooms}
        if steps.rooms < 2:
            raise UserError(f"all {steps.n} steps are of one episode, which has no errors; let the run go on first")
        if steps.rooms < _FEW_ROOMS:
            self.notes.append(f"{steps.rooms} {steps.unit} are few: intervals over them are rough")
        columns = self.features.chosen(steps.features)
        if steps.rooms <= len(columns) + 1:
            self.notes.append(
                f"{steps.rooms} {steps.unit} are too few for errors of {len(columns)} features: leave some out "
                "(--without NAME), or let the run go on"
            )
        truth = {TRUE: steps.truth[:, self.spec.tasks.index(self.task)]} if self.task else {}
        rewards: dict[str, Floats] = {}
        raw = {HEAD: steps.rewards[HEAD], **truth, BEFORE: steps.rewards[BEFORE]}
        for name, paid in raw.items():
            try:
                rewards[name] = standardised(paid)
            except ValueError:
                self.notes.append(f"{_WHO[name]} is the same in all {steps.n} steps: it has no imprint")
        rewards |= differences({name: raw[name] for name in rewards})
        found = imprints(columns, rewards, steps.room, f"features {self.features.source}")
        return found, self._constant(steps, truth.get(TRUE))

    def _constant(self, steps: Steps, truth: Floats | None) -> Constant | None:
        paid = steps.rewards[HEAD]
        scale = unit_of(paid)
        if not scale > 0:
            return None
        median, pinned = float(np.median(paid)) / scale, self.head.record.get("constant_pinned")
        ends = float(steps.terminal.mean())
        if truth is None or not unit_of(truth) > 0:
            return Constant(median, np.nan, np.nan, median, pinned, ends)
        value, low, high = constant_of(paid / scale, truth / unit_of(truth), steps.room)
        if np.isnan(low):
            return Constant(median, np.nan, np.nan, median, pinned, ends)
        return Constant(value, low, high, median, pinned, ends)

    def _probe(self) -> dict[str, Floats]:
        """Some θ, for the names of what the file makes of them."""
        thetas = self.loaded.family.space.sample(np.random.default_rng(0), 2)
        return {name: thetas[:, at].astype(np.float64) for at, name in enumerate(self.loaded.family.space.names)}

    # Pairs --------------------------------------------------------------------------------------------------------

    def resistance(self) -> list[dict[str, Any]]:
        """Rows of the four classes: of the answers that the head was taught by, and of new pairs by the truth."""
        rows: list[dict[str, Any]] = []
        answers, asked = self._answers()
        if answers is not None:
            rows += self._classes("answers", answers, asked)
            self._shift(answers, asked)
        longest = max((int(s.length.max()) for s in answers.pairs), default=_LENGTH) if answers else _LENGTH
        self._length = self.settings.length or longest
        self._new = self._truly_labelled() if self.task else None
        if self._new is not None:
            rows += self._classes("new pairs", self._new, self.replay)
        return rows

    def _answers(self) -> tuple[table.Answers | None, Replay]:
        """Those that the head was taught by, or that were named; and what their segments lie in."""
        nothing = None, self.replay
        file, told = self.settings.preferences, self.head.record.get("file")
        if file is None and (not self.head.preferences or not isinstance(told, str)):
            return nothing
        if file is None:
            assert isinstance(told, str)
            file = Path(told)
            if not file.is_file() or sha256(file) != self.head.record.get("sha256"):
                self.notes.append(
                    f"the answers that the head was taught by are no longer in {file}: --preferences tells where they "
                    "are"
                )
                return nothing
        try:
            frame = table.read(file)
            asked = segments_in(file, frame, self.replay)
            table.check_of_run(file, frame, self.loaded.run.name, asked)
            return table.answers_of(file, frame), asked
        except UserError as error:
            if self.settings.preferences is not None:
                raise
            self.notes.append(f"no resistance of the answers: {error}")  # the run may have gone on since
            return nothing

    def _truly_labelled(self) -> table.Answers:
        """New pairs, labelled by the sums of the task's rewards."""
        rng = stream(self.settings.seed, "new pairs of an audit")
        pairs = uniform_pairs(candidates(self.replay, self._length), self.settings.pairs, rng)
        k = self.spec.tasks.index(self.task)
        sums = []
        for segments in pairs:
            rewards, inside = arrived(self.replay, "task_rewards", segments)
            sums.append((rewards[..., k].astype(np.float64) * inside).sum(1))
        return table.Answers(pairs, preferred(sums[0] - sums[1], np.inf))

    def _classes(self, source: str, answers: table.Answers, asked: Replay) -> list[dict[str, Any]]:
        self.about[source] = len(answers.label)
        kept = untied(answers.label)
        self.about[f"{source} with a choice"] = int(kept.sum())
        if not kept.any():
            self.notes.append(f"all {len(kept)} {source} are ties: nothing can be contradicted")
            return []
        sums = self._sums(answers.pairs, asked)
        found = four_classes(_gap(sums[BEFORE]), _gap(sums[HEAD]), answers.label)
        return [{"pairs": source, "class": name, **share._asdict()} for name, share in found.items()]

    def _sums(self, pairs: Pairs, replay: Replay, drawn: bool = False) -> dict[str, Floats]:
        """Both segments' sums by each payer, (n, 2); of the posterior's modes, or of latents drawn from it.

        Args:
            replay: that the segments lie in.
        """
        seed = seed_for(self.settings.seed, "torch") if drawn else None
        found = segment_sums(self.loaded, replay, joined(list(pairs)), self.payers, seed)
        return {name: total.reshape(2, -1).T for name, total in found.items()}

    def _shift(self, answers: table.Answers, asked: Replay) -> None:
        """SEAL's reward shift, on the features of both segments."""
        kept = untied(answers.label)
        pairs = answers.pairs.at(np.flatnonzero(kept))
        if pairs.first.n < 2:
            return
        first = answers.label[kept] > 0.5
        sums = {name: np.where(first[:, None], two, two[:, ::-1]) for name, two in self._sums(pairs, asked).items()}
        of = [
            self.features.chosen(summed(asked, self.spec, s, self.features.of_states, self.features.source))
            for s in pairs
        ]
        columns: dict[str, Floats] = {}
        for side, chosen in (("chosen", first), ("rejected", ~first)):
            columns |= {f"{side}: {name}": np.where(chosen, of[0][name], of[1][name]) for name in of[0]}
        angle = reward_shift(sums[BEFORE], sums[HEAD])
        columns = self._told_apart(columns)
        if not columns:
            return
        try:
            checked_design(columns, self.features.source, "answers")
            found = imprints(columns, {SHIFT: angle}, np.arange(len(angle)), self.features.source)
        except UserError as error:
            self.notes.append(f"no reward shift: {error}")
            return
        self.shift = [one for one in found if one.effects == "pooled"]

    def _told_apart(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """The features of both sides without those that tell nothing; a note has their names.

        No name of a side can be left out by the command, and the other side may need the feature.
        """
        names = list(columns)
        x = np.stack(list(columns.values()), 1)
        same = [names[k] for k in constant_features(x)]
        left = [name for name in names if name not in same]
        centred = x - x.mean(0)
        tied = combinations(centred[:, [names.index(name) for name in left]], left)
        why = [f"{name!r} is the same in all answers" for name in same]
        why += [f"{name!r} is a sum of multiples of {', '.join(map(repr, of))}" for name, of in tied.items()]
        if why:
            self.notes.append(f"reward shift: left out as nobody can tell what they do: {'; '.join(why)}")
        return {name: columns[name] for name in left if name not in tied}

    def robustness(self) -> list[dict[str, Any]]:
        """Rows of the family's edits that leave the true reward alone, on the new pairs."""
        if self._new is None:
            return []
        kept = untied(self._new.label)
        if not kept.any():
            return []
        pairs, label = self._new.pairs.at(np.flatnonzero(kept)), self._new.label[kept]
        context = max(2, self.loaded.config.train.length) + self._length + 1
        small, at = excerpt(self.replay, joined(list(pairs)), context)
        env: Any = self.loaded.family.make().unwrapped
        found = edited(env, self.spec, self.task, small)
        if not found:
            why = (
                "offers no edits that leave a task alone (`neutral_edits`)" if found is None else "edits none of these"
            )
            self.notes.append(f"no robustness: {self.spec.env_id} {why}")
            return []
        n = len(label)
        sides = Pairs(at.at(np.arange(n)), at.at(np.arange(n, 2 * n)))
        plain = self._sums(sides, small)[HEAD]
        again = _gap(self._sums(sides, small, drawn=True)[HEAD])
        prefers = label > 0.5
        rows = []
        for edit, (replaced, changed) in found.items():
            after = self._sums(sides, replaced)[HEAD]
            chosen = np.stack([prefers, ~prefers], 1)
            for side, which in (("both", np.ones((n, 2), bool)), ("chosen", chosen), ("rejected", ~chosen)):
                sums = np.where(which, after, plain)
                hit = (which & changed.reshape(2, n).T).any(1)
                rows.append({"edit": edit, "side": side, **_turned(_gap(plain), _gap(sums), again, label, hit)})
        return rows


_WHO = {HEAD: "what the head pays", TRUE: "the true reward", BEFORE: "what the head paid before it had learned"}


def _gap(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] - sums[:, 1])


def _turned(original: Floats, after: Floats, again: Floats, label: Floats, hit: Any) -> dict[str, Any]:
    found = turned(original, after, again, label, hit)
    return {
        "pairs": found.pairs,
        "right": found.wrong.n,
        "wrong": found.wrong.hits,
        "share": found.wrong.share,
        "low": found.wrong.low,
        "high": found.wrong.high,
        "redrawn": found.otherwise.share,
        "log_odds": found.odds.log,
        "log_odds_low": found.odds.low,
        "log_odds_high": found.odds.high,
        "agreement": found.before.share,
        "agreement_edited": found.after.share,
        "correlation": found.correlation,
    }
