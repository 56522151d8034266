"""CReST's command line, accepted as in its README and run.sh and translated into our settings.

Names that have the same meaning in both (dataset, fold, seed, batch_size, learning_rate, …) need no translation.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from udal_tf.config import Config, given_in, resolve
from udal_tf.shown_names import shown

# Fixed in this program: CReST's flag is accepted with this value and refused with any other.
_FIXED = {
    "input_shape": ("32,32,3", "CIFAR's images have this shape"),
    "net_arch": ("WRN28", "use --depth and --arch for another network"),
    "activation": ("leaky_relu", "the Wide ResNet here has LeakyReLU"),
    "head_arch": ("linear", "the head is one dense layer"),
    "augment": ("dh", "set --crop_padding and --flip"),
    "weakaug": ("dh", "set --crop_padding and --flip"),
    "strongaug": ("dhrac", "set --strong_ops, --strong_layers and --cutout"),
    "num_augment": ("1", "one view of each labeled image"),
    "optim_type": ("sgd", "CReST trains with SGD and Nesterov momentum: use --optimizer for another optimizer"),
    "nesterov": ("True", "the momentum is Nesterov's"),
    "unsup_loss_divisor": ("full", "masked images count in the divisor"),
    "update_mode": ("distribution", "CReST selects by frequency rank"),
    "reweight_labeled": ("False", "--method=la adjusts the labeled loss"),
    "sched_freq": ("step", "the learning rate changes at every step"),
    "clip_value": ("0.0", "gradients are not clipped"),
    "bn_sync": ("False", "the release ignores it"),
    "sched_min_rate": ("0.0", "schedules end where their formula ends"),
    "head_mlp_dims": ("", "the head is one dense layer"),
}
# The same, with a value that depends on the base learner.
_FIXED_BY_BASE = {
    "unsup_loss_type": {"fixmatch": "xe", "mixmatch": "mse"},
    "num_weakaug": {"fixmatch": "1", "mixmatch": "2"},
    "num_strongaug": {"fixmatch": "1", "mixmatch": "0"},
}
_REFUSED = {
    "root": "data is found by --data_dir, or $ML_DATA in the release",
    "num_labeled": "the release ignores it for long-tailed data: use --beta",
    "is_balanced": "the release ignores it for long-tailed data: use --imbalance",
    "do_rollback": "a run resumes from its last checkpoint automatically",
    "force_init": "choose another --workdir to start from scratch",
    "file_path": "choose the folder by --workdir",
    "file_suffix": "choose the folder by --workdir",
    "ckpt_prefix": "choose the folder by --workdir",
    "source_data": "the release ignores it: use --dataset",
    "target_data": "the release ignores it: use --dataset",
    "sched_step_size": "use --schedule=steps with --schedule_boundaries, fractions of the run",
    "sched_gamma": "use --schedule=steps with --schedule_decay",
}
# Read by the release, without effect here.
_WITHOUT_EFFECT = {"num_workers": "the input pipeline sets its own parallelism"}

_SCHEDULES = {
    "halfcos": "half_cosine",
    "halfcosine": "half_cosine",
    "cos": "cosine",
    "cosine": "cosine",
    "linear": "linear",
    "const": "constant",
    "constant": "constant",
}
_METHODS = ("fixmatch", "mixmatch")


def _schedule(value: str) -> str:
    if value not in _SCHEDULES:
        raise ValueError(f"--sched_type must be one of {', '.join(_SCHEDULES)}, got {value!r}")
    return _SCHEDULES[value]


def _imbalance(ratio: float) -> float:
    if not 0 < ratio <= 1:
        raise ValueError(f"--class_im_ratio must be above 0 and at most 1, got {ratio}")
    return round(1.0 / ratio, 9)


# CReST's flag -> (our setting, conversion of its value, kind of flag).
_TRANSLATED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "class_im_ratio": ("imbalance", _imbalance, "float"),
    "percent_labeled": ("beta", float, "float"),
    "num_epoch": ("epochs", int, "integer"),
    "num_batch": ("steps_per_epoch", int, "integer"),
    "unlab_ratio": ("unlabeled_ratio", int, "integer"),
    "net_width": ("width", int, "integer"),
    "weight_unsup": ("unlabeled_weight", float, "float"),
    "sched_type": ("schedule", _schedule, "string"),
    "sched_level": ("schedule_level", float, "float"),
    "alpha": ("select_alpha", float, "float"),
}
_OF_THE_METHOD = {
    "num_generation": "integer",
    "do_distalign": "bool",
    "how_dalign": "string",
    "dalign_t": "float",
    "model_dir": "string",
}


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines CReST's flags that we do not have; all default to None."""
    kinds = {name: kind for name, (_, _, kind) in _TRANSLATED.items()} | _OF_THE_METHOD
    for name in (*_FIXED, *_FIXED_BY_BASE, *_REFUSED, *_WITHOUT_EFFECT):
        kinds[name] = "string"
    for name, kind in kinds.items():
        help_text = f"CReST's flag, for: {_TRANSLATED[name][0]}." if name in _TRANSLATED else "CReST's flag."
        kinds_of_flag: dict[str, Callable[..., Any]] = {
            "integer": flags.DEFINE_integer,
            "float": flags.DEFINE_float,
            "bool": flags.DEFINE_bool,
            "string": flags.DEFINE_string,
        }
        kinds_of_flag[kind](name, None, help_text, flag_values=flag_values)


def translate(crest: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Our settings for a command line that uses CReST's flags.

    Args:
      crest: CReST's flags that were given, by name.
      given: our own settings that were given.

    Returns:
      All settings given, by our names; a line to print for each translation.

    Raises:
      ValueError: for a flag that CReST ignores, that contradicts another one, or that is not supported here.
    """
    settings, notes = dict(given), []

    def put(flag: str, setting: str, value: Any) -> None:
        if setting in given:
            raise ValueError(f"--{flag} is CReST's name for --{setting}: give only one of them")
        settings[setting] = value
        notes.append(f"--{flag}={crest.get(flag, given.get(flag))} is --{setting}={value}")

    for name, value in crest.items():
        if name in _REFUSED:
            raise ValueError(f"--{name} is CReST's flag and does nothing here: {_REFUSED[name]}")
        if name in _FIXED and str(value) != _FIXED[name][0]:
            raise ValueError(f"--{name}={value}: only {_FIXED[name][0]} is supported here; {_FIXED[name][1]}")
        if name in _WITHOUT_EFFECT:
            notes.append(f"--{name}={value} has no effect: {_WITHOUT_EFFECT[name]}")
        if name in _TRANSLATED:
            setting, convert, _ = _TRANSLATED[name]
            put(name, setting, convert(value))
    spelled_method = given.get("method") in _METHODS
    if spelled_method:
        settings.pop("method")
        put("method", "base", given["method"])
    if spelled_method or any(name in crest for name in ("num_generation", "do_distalign", "how_dalign", "dalign_t")):
        if "method" in settings:
            raise ValueError(
                f"--method={settings['method']} sets the alignment, and so do CReST's --do_distalign, --how_dalign, "
                "--dalign_t and --num_generation: give only one of them"
            )
        settings.update(_method(crest, notes))
    if "alpha" in crest and settings.get("method", "none") not in ("crest", "crest+"):
        del settings["select_alpha"]
        notes.append(f"--alpha={crest['alpha']} has no effect: nothing is selected without generations")
    for name, by_base in _FIXED_BY_BASE.items():
        base = settings.get("base", "fixmatch")
        if name in crest and str(crest[name]) != by_base.get(base):
            raise ValueError(f"--{name}={crest[name]}: --base={base} supports only {by_base.get(base, 'none')}")
    return settings, notes


def _method(crest: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """--do_distalign, --how_dalign, --dalign_t and --num_generation as one of our methods and its settings."""
    generations = crest.get("num_generation", 1)
    aligned, how = crest.get("do_distalign", False), crest.get("how_dalign")
    strength = {"alpha_min": crest["dalign_t"]} if "dalign_t" in crest else {}
    if not aligned:
        if how or strength:
            raise ValueError("--how_dalign and --dalign_t need --do_distalign=True")
        settings = {"method": "crest", "generations": generations} if generations > 1 else {"method": "none"}
    elif how == "adaptive":
        settings = {"method": "crest+", "generations": generations, **strength}
    elif how == "constant" and generations == 1:
        settings = {"method": "da", "k": 0.0, **strength}
    elif how == "constant":
        raise ValueError("--how_dalign=constant is supported only with --num_generation=1; generations need adaptive")
    else:
        raise ValueError(
            f"--how_dalign must be constant or adaptive with --do_distalign, got {how!r}: without it CReST aligns "
            "to its moving average of labels, which --how_dalign=constant --dalign_t=1 replaces by the prior itself"
        )
    shown = " ".join(f"--{name}={value}" for name, value in settings.items())
    names = [name for name in ("do_distalign", "how_dalign", "dalign_t", "num_generation") if name in crest]
    notes.append(f"{' '.join(f'--{name}={crest[name]}' for name in names) or 'no alignment'} is {shown}")
    return settings


def crest_given(flag_values: flags.FlagValues) -> dict[str, Any]:
    """CReST's flags given on the parsed command line, by name."""
    names = (*_TRANSLATED, *_OF_THE_METHOD, *_FIXED, *_FIXED_BY_BASE, *_REFUSED, *_WITHOUT_EFFECT)
    return {name: flag_values[name].value for name in names if flag_values[name].value is not None}


def resolve_command_line(
    flag_values: flags.FlagValues = flags.FLAGS, resolve: Callable[[Mapping[str, Any]], Config] = resolve
) -> tuple[Config, list[str]]:
    """The resolved config of a parsed command line with our flags, CReST's, or both; and what was translated.

    Args:
      flag_values: the parsed flags.
      resolve: the settings given -> all settings; `data.settings.resolve` also inspects the data.

    Raises:
      ValueError: as `translate` and `resolve` do.
    """
    crest = crest_given(flag_values)
    settings, notes = translate(crest, given_in(flag_values))
    config = resolve(settings)
    if "model_dir" in crest:
        if "workdir" in settings:
            raise ValueError(
                "--model_dir is CReST's root of all runs and --workdir the folder of one: give only one of them"
            )
        workdir = str(pathlib.Path(crest["model_dir"]) / pathlib.Path(config.train.workdir).name)
        config = resolve({**settings, "workdir": workdir})
        notes.append(f"--model_dir={shown(crest['model_dir'])} is --workdir={shown(workdir)}")
    return config, notes
