"""How good the models are, how quick, what reviewing is worth: the figures of docs/training.md.

    python -m bench.training --data FOLDER    with clinc150/ and bitext/ in it

Without data the demo's utterances alone are measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import NamedTuple

from bench.learning_curves import CurveSettings, curves
from intentloop_demo.typing_noise import with_slip
from intentloop_demo.utterances import load_utterances, split
from intentloop_training.corpora import (
    Corpus,
    Labelled,
    examples,
    lessons,
    load_bitext,
    load_clinc150,
)
from intentloop_training.evaluation import Rate, evaluate, judge
from intentloop_training.parameters import Features, Parameters
from intentloop_training.prediction import OUT_OF_SCOPE
from intentloop_training.trainer import train

DOCUMENT = Path("docs/training.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PARSES = 1_000

_COLUMNS = ("model", "in scope, accuracy", "out of scope, recall", "macro-F1", "ECE", "trained in",
            "a parse, p50", "p99")  # fmt: skip

PUBLISHED = (
    ("SVM (Larson et al. 2019)", 91.0, 14.5),
    ("MLP (Larson et al. 2019)", 93.5, 47.4),
    ("BERT, fine-tuned (Larson et al. 2019)", 96.9, 40.3),
)
"""Full split, out-of-scope examples trained as a class ("oos-train"), their table 2; percent."""


class Measured(NamedTuple):
    """One kind of model on one data set."""

    features: Features
    in_scope: Rate
    out_of_scope: Rate
    macro_f1: float
    calibration_error: float
    training_seconds: float
    p50_ms: float
    p99_ms: float


def measure(corpus: Corpus, features: Features) -> Measured:
    """Train on the training part alone and test on the test part."""
    taught = lessons(corpus.training)
    started = time.perf_counter()
    model = train(taught, Parameters.for_features(features), "bench").model
    seconds = time.perf_counter() - started
    judgements = judge(model, examples(corpus.test))
    is_in_scope = [j.example.intent != OUT_OF_SCOPE for j in judgements]
    pairs = list(zip(judgements, is_in_scope, strict=True))
    evaluation = evaluate([j for j, inside in pairs if inside])
    refused = [j.is_right for j, inside in pairs if not inside]
    milliseconds = sorted(_parse_times(model.parse, corpus.test))
    return Measured(
        features,
        evaluation.accuracy,
        Rate.from_counts(sum(refused), len(refused)),
        evaluation.macro_f1,
        evaluation.calibration_error,
        seconds,
        milliseconds[len(milliseconds) // 2],
        milliseconds[len(milliseconds) * 99 // 100],
    )


def _parse_times(
    parse: Callable[[Sequence[str]], object], texts: Sequence[Labelled]
) -> Iterator[float]:
    rng = Random(0)
    for text, _ in rng.choices(texts, k=PARSES):
        started = time.perf_counter()
        parse([text])
        yield (time.perf_counter() - started) * 1e3


def demo_corpus() -> Corpus:
    """Return the demo's utterances; the test part are utterances held back, each misspelt."""
    rng = Random(0)
    taught, unseen = split(load_utterances())
    return Corpus(
        "the demo's utterances, tested on misspelt ones",
        [Labelled(one.text, one.intent) for one in taught],
        [],
        [Labelled(with_slip(one.text, rng), one.intent) for one in unseen],
    )


def _figures(data: Path | None, say: Callable[[str], None]) -> Iterator[str]:
    yield from _machine()
    corpora = [demo_corpus()]
    if data is not None:
        corpora += [load_clinc150(data / "clinc150"), load_bitext(data / "bitext")]
    for corpus in corpora:
        yield from _table(corpus, say)
    if data is not None:
        yield from _curves(corpora[1:], say)


def _machine() -> Iterator[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "numpy", "scipy"))
    yield f"Python {platform.python_version()}, {packages}; one process, {platform.machine()}."


def _table(corpus: Corpus, say: Callable[[str], None]) -> Iterator[str]:
    yield from ("", f"### {corpus.name[:1].upper()}{corpus.name[1:]}", "")
    intents = {intent for _, intent in corpus.training} - {OUT_OF_SCOPE}
    yield f"{len(corpus.training):,} texts to learn from, {len(intents)} intents, "
    yield f"{len(corpus.test):,} to test on; intervals are 95 % (Wilson)."
    yield ""
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in _COLUMNS)} |"
    for features in Features:
        say(f"{corpus.name}: {features}")
        one = measure(corpus, features)
        refused = _shown(one.out_of_scope) if one.out_of_scope.of else ""
        yield (
            f"| {features} | {_shown(one.in_scope)} | {refused} | {100 * one.macro_f1:.1f} % "
            f"| {100 * one.calibration_error:.1f} % | {one.training_seconds:.0f} s "
            f"| {one.p50_ms:.1f} ms | {one.p99_ms:.1f} ms |"
        )
    if corpus.name == "CLINC150":
        for name, in_scope, out_of_scope in PUBLISHED:
            yield f"| {name} | {in_scope} % | {out_of_scope} % | | | | | |"


def _curves(corpora: Sequence[Corpus], say: Callable[[str], None]) -> Iterator[str]:
    for corpus in corpora:
        settings = CurveSettings.for_corpus(corpus)
        yield from ("", f"### Reviewing for {corpus.name}", "")
        yield f"From 5 labels an intent, {settings.per_round} reviews a round; mean accuracy over "
        yield f"{settings.seeds} seeds with its 95 % interval (Student's t)."
        yield ""
        yield "| labels | what the queue proposes | at random | difference |"
        yield "| ---: | --- | --- | --- |"
        for labels, queue, chance in curves(corpus, settings, say):
            gain = [a - b for a, b in zip(queue, chance, strict=True)]
            yield f"| {labels:,} | {_spread(queue)} | {_spread(chance)} | {_spread(gain)} |"


def _spread(values: Sequence[float]) -> str:
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{100 * mean(values):.1f} ± {100 * half:.1f} %"


def _shown(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * rate.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Measure, and put the figures between the document's marks."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with clinc150/ and bitext/")
    options = parser.parse_args()
    lines = list(_figures(options.data, lambda text: print(text, file=sys.stderr)))
    document = DOCUMENT.read_text(encoding="utf-8")
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    figures = "\n".join(lines)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
