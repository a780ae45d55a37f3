"""``waker audit``: what a learned reward pays for, which answers it contradicts, and what misleads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waker.cli.arguments import parse
from waker.errors import UserError
from waker.settings import Count, NotNegativeInt

if TYPE_CHECKING:
    from waker.training.audit_results import Audit


@dataclass(frozen=True)
class AuditArgs:
    """Look at a learned reward by named features, and write a page and its rows.

    Feature imprint: what it pays for each feature, others equal, beside the true reward. Alignment resistance: answers
    that it contradicts, before and after it learned them. Robustness: right answers that turn wrong by edits which
    change nothing of the task. The same regression tells which features of θ make its policy fail.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, or a folder that holds one."""
    features: str = ""
    """File of named features, file.py or file.py:function; the file is run."""
    without: tuple[str, ...] = ()
    """Features to leave out."""
    head: str = ""
    """Task whose head is looked at; none = the one that was taught by preferences last."""
    before: str = ""
    """Task whose head it is compared with, of an earlier round, say; none = its own beginning."""
    task: str = ""
    """The environment's task that is the truth; none = the head's own, where it is one."""
    preferences: Path | None = None
    """File of answers for the resistance; none = that which the head was taught by."""
    steps: Count = 20_000
    """Steps of the replay, at most."""
    pairs: Count = 1_000
    """New pairs, labelled by the truth."""
    length: Count | None = None
    """Steps of a segment of these; none = as in the answers, or 8."""
    out: Path | None = None
    """The page; none = audit.html in the run's folder. Rows lie beside it, as CSV."""
    json: Path | None = None
    """All numbers as JSON, in this file."""
    seed: NotNegativeInt = 0
    """Of what is drawn."""
    device: str | None = None
    """Torch device; None = the run's."""


def command(argv: list[str]) -> int:
    """Run ``waker audit``."""
    args = parse(AuditArgs, argv, verb="audit")
    if not args.features:
        raise UserError("an audit looks at a reward by features: add --features features.py (docs/audit.md has one)")
    from waker.names import printable
    from waker.report.audit_page import write_audit
    from waker.storage.files import check_writable, saving
    from waker.storage.run_folder import RunFolder, read_config
    from waker.storage.run_search import one_run
    from waker.storage.sealed import write_json
    from waker.training.audit import AuditSettings, audit
    from waker.training.audit_features import read_features
    from waker.training.loading import load_run

    folder = one_run(args.run).absolute()
    out = (args.out or folder / "audit.html").absolute()
    json = None if args.json is None else args.json.absolute()
    answers = None if args.preferences is None else args.preferences.absolute()

    check_writable("the page", out)
    check_writable("the numbers", json)

    def note(text: str) -> None:
        print(printable(text), flush=True)

    settings = AuditSettings(args.head, args.before, args.task, answers, args.steps, args.pairs, args.length, args.seed)
    config = read_config(folder)
    features = read_features(args.features, args.without)
    with RunFolder(folder, config).locked():
        loaded = load_run(folder, note, args.device)
        found = audit(loaded, loaded.replay(note), features, settings, note)
    try:  # files first: a reader of the lines may go before their end (`| head`)
        files = write_audit(found, out)
        if json is not None:
            with saving(f"the numbers in {json}"):
                json.parent.mkdir(parents=True, exist_ok=True)
                write_json(json, found.plain, 1)
    finally:
        for line in told(found):
            note(line)
    if json is not None:
        note(f"Numbers: {printable(args.json)}")
    note(f"Audit: {files['page']}")
    return 0


def told(found: Audit) -> list[str]:
    """The audit in a few lines."""
    lines = [f"note: {text}" for text in found.notes]
    pooled = found.imprint[found.imprint["effects"] == "pooled"]
    for reward, title in (("head", "imprint of the head"), ("true", "imprint of the true reward")):
        of = pooled[pooled["reward"] == reward]
        if len(of):
            each = ", ".join(
                f"{feature} {estimate:+.2f}" + ("" if error != error else f" ± {error:.2f}")
                for feature, estimate, error in zip(of["feature"], of["estimate"], of["se"], strict=True)
            )
            lines.append(f"{title}: {each}")
    rows = found.resistance
    for kind in dict.fromkeys(rows["pairs"]) if len(rows) else ():
        of = rows[rows["pairs"] == kind]
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in zip(of["class"], of["share"], strict=True))
        lines.append(f"{kind} ({of['n'].iloc[0]} with a choice): {shares}")
    for _, row in found.robustness.iterrows():
        if row["side"] == "both" and row["right"]:
            lines.append(
                f"{row['edit']}: {row['wrong']} of {row['right']} right pairs turn wrong "
                f"({100 * row['share']:.1f} %; {100 * row['redrawn']:.1f} % by latents drawn anew, with no edit)"
            )
    if len(found.theta):
        each = ", ".join(
            f"{feature} {estimate:+.3f} ± {error:.3f}"
            for feature, estimate, error in zip(
                found.theta["feature"], found.theta["estimate"], found.theta["se"], strict=True
            )
        )
        lines.append(f"share of the optimum lost, by θ: {each}")
    lines.append(found.constant.told if found.constant else "The head pays the same in every step.")
    return lines
