"""Grids of runs: the paper's tables and figures and their miniatures, as flagfiles × settings × folds.

A grid is a list of blocks; in a block every setting whose value is a list is an axis. The paper prints no values for
Figure 3, so the points on its axes are ours.
"""

import dataclasses
import hashlib
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from udal_tf import shown_names, storage
from udal_tf.config import Config, flat, given_on_command_line, is_identity, resolve
from udal_tf.reporting import paper
from udal_tf.reporting.runs import differing, shown, tuples
from udal_tf.sections import UNLABELED_SHAPES
from udal_tf.settings import bad_text
from udal_tf.training.stages import images_before

# α_min on the horizontal axis of Figures 3a to 3c; 0.1 is the paper's choice, 0.5 CReST's.
ALPHA_MINS = (0.0, 0.1, 0.25, 0.5)
KS = (1.0, 2.0, 3.0)
LONGEST_IN_NAME = 24
_FOLDS = {"fold": list(paper.FOLDS)}


@dataclasses.dataclass(frozen=True)
class Block:
    """Runs that differ in the settings with several values.

    flagfile: its name in the folder of flagfiles; "" for none.
    settings: setting -> value, or list of values.
    """

    flagfile: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid. name: of its folder. arguments: of its command, except the folder."""

    name: str
    arguments: tuple[str, ...]
    config: Config

    @property
    def images(self) -> int:
        """Training images seen over all generations, each view counted once."""
        return images_before(self.config, self.config.train.total_steps) * self.config.generations


def _table_1() -> list[Block]:
    names = [f"fixmatch_{method}" for method in ("none", "da", "da_la", "crest+", "udal")]
    names += [f"mixmatch_{method}" for method in ("none", "crest+", "udal")]
    axes = {"imbalance": [50.0, 100.0, 200.0], "fold": list(paper.FOLDS)}
    return [Block(f"table1_{name}.flags", axes) for name in names]


def _table_1_open() -> list[Block]:
    """The rows of Table 1 whose settings the paper leaves open, each with its variants (`paper.TABLE_1_OPEN`)."""
    axes = {"imbalance": [50.0, 100.0, 200.0], "fold": list(paper.FOLDS)}
    readings = {"mixmatch_none": ("ramp0",), "mixmatch_crest+": ("ramp0", "t08"), "mixmatch_udal": ("ramp0",)}
    readings |= {"fixmatch_da": ("k0",), "fixmatch_da_la": ("k0",)}
    prefixes = [(name, ("table1", *(f"table1-{twin}" for twin in twins))) for name, twins in readings.items()]
    return [Block(f"{prefix}_{name}.flags", axes) for name, own in prefixes for prefix in own]


def _table_2() -> list[Block]:
    ten = {"dataset": "cifar10lt", "imbalance": [50.0, 100.0, 200.0]}
    hundred = {"dataset": "cifar100lt", "imbalance": [50.0, 100.0]}
    shared = {"beta": [0.1, 0.3], "fold": list(paper.FOLDS)}
    files = [f"table2_fixmatch_{method}.flags" for method in ("none", "crest+", "udal")]
    return [Block(file, {**data, **shared}) for data in (ten, hundred) for file in files]


def _table_3() -> list[Block]:
    axes = {"imbalance": [50.0, 100.0, 150.0], "fold": list(paper.FOLDS)}
    return [Block(f"table3_fixmatch_{method}.flags", axes) for method in ("none", "darp", "crest+", "udal")]


def _table_3_adam() -> list[Block]:
    """Table 3's rows from DARP's paper, each with its variant by DARP's recipe (`paper.TABLE_3_ADAM`)."""
    axes = {"imbalance": [50.0, 100.0, 150.0], "fold": list(paper.FOLDS)}
    names = [f"{prefix}_fixmatch_{method}" for method in ("none", "darp") for prefix in ("table3", "table3-adam")]
    return [Block(f"{name}.flags", axes) for name in names]


def _later() -> list[Block]:
    """The later methods by their releases' recipes, on the sets of DARP's protocol that their papers use."""
    sets: list[dict[str, Any]] = [
        {"n1": 1500, "m1": 3000},
        {"n1": 500, "m1": 4000, "unlabeled_shape": list(UNLABELED_SHAPES)},
    ]
    methods = ("flexda", "debiaspl", "simpro", "cdmad", "acr", "abc")
    files = [f"later_fixmatch_{method}.flags" for method in methods]
    return [Block(file, {**one, **_FOLDS}) for one in sets for file in files]


def _simple(dataset: str) -> list[Block]:
    """The simplest methods, without unlabeled images and over FixMatch, where each of them works."""
    supervised = ["none", "class_balanced", "balanced_sampling", "crt", "ldam_drw", "focal"]
    both = {"supervised": supervised, "fixmatch": [*supervised, "suppressed"]}
    return [Block("", {"dataset": dataset, "base": base, "method": names, **_FOLDS}) for base, names in both.items()]


def _table_4() -> list[Block]:
    both = {"epochs": [1000, 2000]}
    blocks = [Block("table4-all_supervised_none.flags"), Block("table4_supervised_none.flags")]
    blocks += [Block(f"table4_fixmatch_{method}.flags", both) for method in ("none", "da")]
    blocks += [Block("table4_fixmatch_crest+.flags")]
    return blocks + [Block(f"table4-a{alpha}_fixmatch_udal.flags", both) for alpha in ("050", "055", "060")]


_FIGURE_AXES = {"alpha_min": list(ALPHA_MINS), "fold": list(paper.FOLDS)}
# UDAL with its own schedule, as the reference of the ablations.
_CIFAR_UDAL = Block("table1_fixmatch_udal.flags", _FOLDS)


def _miniature(dataset: str, epochs: int) -> dict[str, list[Block]]:
    """Table 1 and Figures 1 and 3 on a small dataset; epochs: of its recipe."""

    def block(base: str, method: str, **settings: Any) -> Block:
        fixed = {"dataset": dataset, "base": base, "method": method}
        # Digits-LT has flagfiles, which fix these settings.
        file = f"digits_{base}_{method}.flags" if dataset == "digitslt" else ""
        return Block(file, {**({} if file else fixed), **settings, **_FOLDS})

    fixmatch = [block("supervised", "none")]
    fixmatch += [block("fixmatch", method) for method in ("none", "da", "da_la", "crest+", "udal")]
    mixmatch = [block("mixmatch", method) for method in ("none", "crest+", "udal")]
    udal, alphas, longer = block("fixmatch", "udal"), list(ALPHA_MINS), [epochs, 2 * epochs]
    lengths = [epochs // 2, epochs, 2 * epochs]
    return {
        "": fixmatch + mixmatch,
        "_fixmatch": fixmatch,
        "_fig1": [block("supervised", "none"), block("supervised", "none", beta=1.0), block("fixmatch", "crest+")]
        + [block("fixmatch", method, epochs=longer) for method in ("none", "da", "udal")],
        "_fig3a": [block("fixmatch", "hybrid", k=list(KS), alpha_min=alphas), udal],
        "_fig3b": [block("fixmatch", "udal", k=list(KS), alpha_min=alphas), udal],
        "_fig3c": [block("fixmatch", "udal", k=0.0, epochs=lengths, alpha_min=alphas), udal],
    }


GRIDS: dict[str, list[Block]] = {
    "table1": _table_1(),
    "table1_open": _table_1_open(),
    "table2": _table_2(),
    "table3": _table_3(),
    "table3_adam": _table_3_adam(),
    "table4": _table_4(),
    "later": _later(),
    "digits_simple": _simple("digitslt"),
    "fashion_simple": _simple("fashionlt"),
    "cifar_simple": _simple("cifar10lt"),
    "fig1": _table_4(),
    "fig3a": [Block("fig3a_fixmatch_hybrid.flags", {"k": list(KS), **_FIGURE_AXES}), _CIFAR_UDAL],
    "fig3b": [*(Block(f"fig3b-k{k:g}_fixmatch_udal.flags", _FIGURE_AXES) for k in KS), _CIFAR_UDAL],
    "fig3c": [*(Block(f"fig3c-e{n}_fixmatch_udal.flags", _FIGURE_AXES) for n in (32, 64, 128)), _CIFAR_UDAL],
    **{f"digits{part}": blocks for part, blocks in _miniature("digitslt", 20).items()},
    **{f"fashion{part}": blocks for part, blocks in _miniature("fashionlt", 12).items()},
}


def read_grid(path: pathlib.Path) -> list[Block]:
    """The blocks of a grid file: a JSON list of {"flagfile": …, "settings": {…}}, either of which may be left out.

    Raises:
      ValueError: if the file is not such a list.
    """
    try:
        listed = storage.read_json(path)
    except ValueError as error:
        raise ValueError(f"the grid {shown_names.shown(path)} must be a readable JSON file ({error})") from error
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"the grid {shown_names.shown(path)} must be a list of blocks, got {type(listed).__name__}")
    blocks = []
    for number, block in enumerate(listed, start=1):
        if not isinstance(block, dict) or set(block) - {"flagfile", "settings"}:
            raise ValueError(
                f"block {number} of {shown_names.shown(path)} must be an object of flagfile and settings, got "
                f"{block!r:.80}"
            )
        flagfile, given = block.get("flagfile", ""), block.get("settings", {})
        if not isinstance(flagfile, str) or bad_text(flagfile):
            raise ValueError(
                f"flagfile of block {number} of {shown_names.shown(path)} must be the name of a file, got "
                f"{flagfile!r:.80}"
            )
        if not isinstance(given, dict) or not all(map(_is_axis, given.values())):
            raise ValueError(
                f"settings of block {number} of {shown_names.shown(path)} must be an object from settings to values "
                f"or lists of them, got {given!r:.80}"
            )
        blocks.append(Block(flagfile, given))
    return blocks


def _is_axis(value: Any) -> bool:
    """Whether it is a setting's value or a list of values, some of which may be lists of several entries."""
    return all(isinstance(one, (str, int, float, list)) for one in (value if isinstance(value, list) else [value]))


def _assignments(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    axes = [value if isinstance(value, list) else [value] for value in settings.values()]
    for values in itertools.product(*axes):
        yield dict(zip(settings, values, strict=True))


def cell_name(config: Config) -> str:
    """The folder of a run: as `run.py` names it, then every other setting that differs from the recipe."""
    values = tuples(flat(config.to_dict()))
    named: tuple[str, ...] = ("dataset", "imbalance", "protocol", "base", "method", "seed")
    named += ("beta",) if config.data.protocol == "crest" else ()
    named += tuple(n for n in ("data_dir", "labels") if n in values) if config.records.dataset.by_folder else ()
    named += ("plugin", "plugin_sha256") if config.plugins.plugin else ()
    identity = {n: v for n, v in values.items() if is_identity(n) and n not in ("fold", "plugin_sha256")}
    further = differing(identity, {name: values[name] for name in named})
    whole = flat(resolve({name: values[name] for name in (*named, "fold")}).to_dict())
    return pathlib.PurePath(whole["workdir"]).name + "".join(f"_{n}{_in_name(shown(v))}" for n, v in further.items())


def _in_name(text: str) -> str:
    """A value as part of a file name; a long one, such as a list of operations, is hashed."""
    if len(text) > LONGEST_IN_NAME:
        return hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r"[^\w.+,-]", "-", text)


def cells(
    blocks: Iterable[Block],
    flag_folder: str,
    further: Sequence[str] = (),
    complete: Callable[[Mapping[str, Any]], Config] = resolve,
) -> tuple[list[Cell], list[str]]:
    """Every run of the blocks, once each even if several blocks contain it.

    Args:
      blocks: of the grid.
      flag_folder: the folder of the blocks' flagfiles.
      further: arguments of `run.py` that every cell gets.
      complete: the given settings -> all settings, as `run.py` resolves them; `data.settings.resolve` also looks at
        the data. A cell's name depends on the given settings alone.

    Returns:
      the cells, and a line with the reason for each cell that does not resolve.
    """
    found: dict[str, Cell] = {}
    errors = []
    for block in blocks:
        file = block.flagfile
        path = pathlib.PurePath(file) if pathlib.PurePath(file).parent.name else pathlib.PurePath(flag_folder) / file
        given = (f"--flagfile={path}",) if file else ()
        for assignment in _assignments(block.settings):
            arguments = (*given, *(f"--{name}={shown(value)}" for name, value in assignment.items()), *further)
            try:
                settings = given_on_command_line(arguments)
                name = cell_name(resolve(settings))
                if name not in found:
                    found[name] = Cell(name, arguments, complete(settings))
            except ValueError as error:
                errors.append(f"{' '.join(arguments)}: {error}")
    return list(found.values()), errors
