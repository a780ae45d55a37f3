"""What of θ makes a policy fail: the share of the optimum that it loses, on features of θ. Called by :mod:`.audit`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.errors import UserError
from waker.names import DR_SUITE, theta_column
from waker.preferences.imprint import checked_design, combinations, constant_features, imprints
from waker.storage.tables import read_rows
from waker.training.audit_features import AuditFeatures
from waker.training.audit_results import SHARE
from waker.training.audited_head import AuditedHead
from waker.training.loading import LoadedRun

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThetaAudit:
    """The regression of what the policy of a head loses on features of θ.

    Attributes:
        loaded, head, features: of the audit.
        task: the environment's task that is the truth; may be empty.
        notes: what is not known is added to them.
        about: the numbers of episodes and θ are added to it.
    """

    loaded: LoadedRun
    head: AuditedHead
    features: AuditFeatures
    task: str
    notes: list[str]
    about: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the regression; none where there is a note instead."""
        rows = read_rows(self.loaded.run.path / "evaluation.parquet")
        judged = f" --as {self.head.name}={self.task or 'TASK'}" if self.head.preferences else ""
        if rows.empty or not ((rows["task"] == self.head.name) & (rows["policy"] != "random")).any():
            self.notes.append(f"no policy for {self.head.name} was measured yet (`waker evaluate RUN{judged}`): no θ")
            return []
        of_policy = self._of_policy(rows)
        if of_policy.empty:
            self.notes.append(
                f"the policy for {self.head.name} was not measured since it was taught: `waker evaluate RUN{judged}` "
                "does it; no θ"
            )
            return []
        known = of_policy[of_policy["optimal_return"] > 0]
        if known.empty:
            self.notes.append("the family knows no optimum of its episodes: what the policy loses is not known")
            return []
        earned = known["exact_value"].fillna(known["return"]) if "exact_value" in known else known["return"]
        lost = (1.0 - earned / known["optimal_return"]).to_numpy(np.float64)
        parameters = {
            name: known[column].to_numpy(np.float64)
            for name, column in ((name, theta_column(name)) for name in self.loaded.family.space.names)
        }
        try:
            return self._theta_rows(lost, parameters)
        except UserError as error:  # the rest of the audit does not hang on it
            self.notes.append(f"no θ: {error}")
            return []

    def _of_policy(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The episodes of domain randomisation that the policy of this very head played, on the present model."""
        mine = (rows["task"] == self.head.name) & (rows["suite"] == DR_SUITE) & (rows["step"] == self.loaded.step)
        # Rows of earlier versions do not say which state of an adapted policy they are of.
        told = rows["policy_digest"] if "policy_digest" in rows else pd.Series(None, rows.index, object)
        if self.head.adapted:
            return rows[mine & rows["policy"].isin(["adapted", "learned"]) & (told == self.head.policy)]
        return rows[mine & (rows["policy"] == "learned") & told.isna()]

    def _theta_rows(self, lost: Floats, parameters: Mapping[str, Floats]) -> list[dict[str, Any]]:
        all_of = self.features.of_theta(parameters)
        columns = {name: column for name, column in all_of.items() if name not in self.features.without}
        for name in list(columns):  # a family's own parameters are nobody's mistake
            if name in parameters and len(constant_features(columns[name][:, None])):
                self.notes.append(f"θ's {name} is the same in all evaluated episodes: it is left out")
                del columns[name]
        points = np.stack(list(parameters.values()), 1)
        _, group = np.unique(points, axis=0, return_inverse=True)
        what = f"θ and of_theta of {self.features.source}"
        if len(np.unique(group)) < 2 or not columns:
            self.notes.append("the evaluated episodes are of one θ: nothing tells what makes a policy fail")
            return []
        x = checked_design(columns, what, "evaluated episodes")
        names = list(columns)
        groups = len(np.unique(group))
        if groups <= len(names) + 1:
            raise UserError(
                f"{groups} θ are too few for the {len(names)} features of {what}: leave some out (--without NAME), or "
                "evaluate more episodes"
            )
        by_theta = np.stack([x[group == g][0] for g in range(groups)])
        if tied := combinations(by_theta - by_theta.mean(0), names):
            name = next(iter(tied))
            raise UserError(f"{what}: {name!r} cannot be told from the others (--without {shlex.quote(name)})")
        self.about.update({"evaluated episodes": len(lost), "evaluated θ": groups})
        found = imprints(columns, {SHARE: lost}, group.reshape(-1), what)
        return [one._asdict() for one in found if one.effects == "pooled"]
