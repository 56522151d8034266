"""The model card of an exported model: data, training, scores, use, and limitations."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from udal_tf import __version__
from udal_tf.config import Config, flat, is_identity, resolve
from udal_tf.inference import export_check, priors, usage
from udal_tf.inference.exporting import FORMATS, PROBS
from udal_tf.inference.quantizing import Loss
from udal_tf.inference.trained import TrainedModel
from udal_tf.inference.workfolder import BEST_EPOCH
from udal_tf.reporting.runs import call_text
from udal_tf.run_records import TEST, Result
from udal_tf.shown_names import command_line, shown

# Classes with fewer labeled or fewer test images are listed in the limitations.
FEW_LABELED = 10
FEW_TESTED = 30
_VARIANTS = {"last": ("ema", "ema_la"), "best": ("ema", "ema_la"), "raw": ("raw", "raw_la")}
# Settings that a run fills in itself.
_FILLED_IN = ("images", "labels_sha256", "plugin_sha256", "pretrained_sha256")
# Facts of the data that are per-class counts, shown in the table of classes.
_COUNTS = ("labeled_counts", "unlabeled_counts", "validation_counts", "test_counts")


@dataclasses.dataclass(frozen=True)
class Export:
    """The facts about the export itself.

    Attributes:
      format: a key of exporting.FORMATS.
      target_prior: as stated by the user, or None.
      source_prior: its kind.
      differences: see `exporting.export`.
      compared: where the real images came from.
      quantized: what int8 changes; None for floating point.
    """

    format: str
    target_prior: Any
    source_prior: str
    differences: dict[str, float]
    compared: str
    quantized: Loss | None = None


def training_command(config: Config) -> str:
    """The command of a run: its data, method, and every setting that differs from their recipe."""
    values = flat(config.to_dict())
    chosen = {name: values[name] for name in ("dataset", "base", "method", "protocol", "arch")}
    chosen |= {"plugin": tuple(values["plugin"])} if values["plugin"] else {}
    own_arch = flat(resolve(chosen).to_dict())
    del chosen["arch"]
    recipe = {**own_arch, **flat(resolve(chosen).to_dict())}
    usual = config.records.dataset.recipe.get("protocol", "crest")
    given = {name: value for name, value in chosen.items() if name != "protocol" or value != usual}
    for name, value in values.items():
        stated = (is_identity(name) or name in ("data_dir", "labels")) and name not in _FILLED_IN
        if stated and value != recipe.get(name):
            given.setdefault(name, value)
    if config.records.dataset.in_memory:
        return call_text(given)
    words = [f"--{name}={','.join(map(str, v)) if isinstance(v, (list, tuple)) else v}" for name, v in given.items()]
    return command_line(["python", "run.py", *words])


def facts(model: TrainedModel, export: Export) -> dict[str, Any]:
    """What a program needs to know about the exported model, JSON-ready: `classes.json`."""
    prior = None
    if export.target_prior is not None:
        target = priors.target_prior(export.target_prior, model.class_names, model.p_data)
        prior = {"target": target.tolist(), "source": model.source_prior(export.source_prior).tolist()}
    return {
        "class_names": list(model.class_names),
        "format": export.format,
        **usage.inputs(model, export.format),
        "quantized": "int8" if export.quantized else None,
        "output": {"name": PROBS, "dtype": "float32", "shape": [None, len(model.class_names)]},
        "la_inf": prior,
        "weights": model.weights,
        "tau_norm": model.tau_norm,
        "step": model.folder.step,
        "udal_tf": __version__,
    }


def card(model: TrainedModel, export: Export) -> str:
    """The card in Markdown."""
    folder, config = model.folder, model.folder.config
    data = folder.result.data if folder.result else {}
    trained = f"`--base={config.method.base} --method={config.method.method}`"
    state = "" if folder.result else " **Training was not finished.**"
    parts = [
        f"# Image classifier: {len(model.class_names)} classes, {config.data.dataset}",
        f"A {model.network.name} network trained by udal-tf {folder.facts.udal_tf} with {trained}: "
        f"{_weights(model)}, step {folder.step:,} of {config.train.total_steps:,}.{state}",
        "## Use",
        usage.contract(model, export.format),
        f"```python\n{usage.program(model, export.format)}\n```",
        *usage.without_reader(model, export.format),
        _checked(export),
        "## Prior",
        _prior(export),
        "## Classes and test results",
        _classes(model, data, export),
        "## Data",
        "\n".join(f"- {name}: {shown(str(value))}" for name, value in data.items() if name not in _COUNTS)
        or "Not recorded.",
        "## Limitations",
        "\n".join(f"- {limit}" for limit in _limits(model, data)),
        "## Training",
        f"```\n{training_command(config)}\n```",
        _versions(folder.result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _checked(export: Export) -> str:
    """How far the export is from the original, and on which images this was measured."""
    limit, real = FORMATS[export.format].tolerance, f"Real images: {export.compared}."
    if export.quantized:
        return f"Weights and activations are int8. {export.quantized.said()} {real}"
    resized = f", and {export_check.RESIZED_TOLERANCE:g} where it resizes" if len(export.differences) > 2 else ""
    return (
        "Its probabilities differ from those of the original network by at most "
        f"{export_check.said(export.differences)}; the limit is {limit:g}{resized}. {real}"
    )


def _weights(model: TrainedModel) -> str:
    row = model.folder.row
    compared_by = row.scored_on if row else TEST
    name = {
        "last": "EMA weights at the end of training",
        "best": f"EMA weights of the best epoch on the {compared_by} images",
        "raw": "raw weights at the end of training",
    }[model.weights]
    if model.tau_norm:
        name += f", the last layer τ-normalized with τ = {model.tau_norm:g}, unlike in the test results below"
    return name


def _prior(export: Export) -> str:
    if export.target_prior is None:
        return (
            "The probabilities are those of the model without LA (Inf). If the images to predict follow a different "
            "class distribution than the model assumes, export it again with --target_prior."
        )
    source = {
        "labeled": "the class prior p_data of the labeled images",
        "own": "the prior that the method's labeled loss gives the model",
        "label_average": "the moving average of the labels",
        "target": "the target prior p̃ at the end of training",
    }[export.source_prior]
    return f"LA (Inf) is built in: it replaces {source} by the target prior ({export.target_prior}; see the table)."


def _classes(model: TrainedModel, data: Mapping[str, Any], export: Export) -> str:
    scored, variants = model.folder.scores, _VARIANTS[model.weights]
    columns: dict[str, list] = {"class": list(model.class_names)}
    grown = model.folder.config.generations > 1
    labeled = "labeled, pseudo-labels included" if grown else "labeled"
    for title, key in ((labeled, "labeled_counts"), ("unlabeled", "unlabeled_counts")):
        if key in data and not (key == "unlabeled_counts" and _are_of_the_labels(data)):
            columns[title] = data[key]
    columns["p_data"] = [f"{prior:.4f}" for prior in model.p_data]
    if export.target_prior is not None:
        target = priors.target_prior(export.target_prior, model.class_names, model.p_data)
        columns["target prior"] = [f"{prior:.4f}" for prior in target]
    if scored:
        found, scored_on = scored
        tested = _tested(model) if scored_on == TEST else []
        if tested:
            columns["tested"] = tested
        for title, variant in zip(("recall, %", "recall with LA (Inf), %"), variants, strict=True):
            recall = found.per_class_recall[variant]
            columns[title] = ["–" if value is None else f"{100 * value:.1f}" for value in recall]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(map(str, cells)) for cells in zip(*columns.values(), strict=True)]
    table = "\n".join(f"| {line} |" for line in lines)
    if not scored:
        return f"{table}\n\nThese weights were saved in mid-epoch and were not tested."
    scores = "; ".join(
        f"{name}: accuracy {100 * found.accuracy[variant]:.1f} %, balanced accuracy "
        f"{100 * found.balanced_accuracy[variant]:.1f} %"
        for name, variant in zip(
            ("without LA (Inf)", "with LA (Inf) to the uniform distribution"), variants, strict=True
        )
    )
    return f"On the {scored_on} images of the run, {scores}.\n\n{table}"


def _are_of_the_labels(data: Mapping[str, Any]) -> bool:
    """Whether the counts of the unlabeled images are those of the labeled ones, as in runs of earlier versions."""
    return bool(data.get("unlabeled_of_unknown_class")) and data["unlabeled_counts"] == data.get("labeled_counts")


def _tested(model: TrainedModel) -> list[int]:
    """Test images per class, or an empty list if unknown."""
    result = model.folder.result
    return [sum(row) for row in result.confusion.ema] if result else []


def _limits(model: TrainedModel, data: Mapping[str, Any]) -> list[str]:
    def named(counts: list[int], few: int) -> str:
        return ", ".join(f"{n} ({c})" for n, c in zip(model.class_names, counts, strict=True) if c < few)

    limits = [
        f"It knows only these {len(model.class_names)} classes: whatever an image shows, it predicts one of them.",
        "It was tested on images like its training images; on others it can be much worse.",
        "Its probabilities are not calibrated; `udal evaluate` measures their calibration error.",
    ]
    if few := named(data.get("labeled_counts", []) or [FEW_LABELED] * len(model.class_names), FEW_LABELED):
        limits.append(f"Classes trained on fewer than {FEW_LABELED} labeled images: {few}.")
    if few := named(_tested(model) or [FEW_TESTED] * len(model.class_names), FEW_TESTED):
        limits.append(f"Classes whose recall was measured on fewer than {FEW_TESTED} test images: {few}.")
    if model.weights == BEST_EPOCH:
        limits.append("The epoch was selected on the test images, so the scores above are optimistic.")
    return limits


def _versions(result: Result | None) -> str:
    if not result:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    commit = f", commit {result.commit}" if result.commit else ""
    return f"{result.steps:,} steps in {result.seconds:,.0f} s; {versions}{commit}."
