"""The settings of a base learner and a method, from keyword arguments instead of flags."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from udal_tf.config import Own
from udal_tf.registry import BASE_LEARNERS, METHODS
from udal_tf.sections import MethodConfig
from udal_tf.settings import Section


def _names(*sections: type[Section] | None) -> list[str]:
    return [field.name for section in sections if section for field in dataclasses.fields(section)]


def method_settings(base: str, method: str, given: Mapping[str, Any]) -> tuple[MethodConfig, Own]:
    """The settings of a base learner and a method: their presets, overridden by those given.

    Args:
      base: a name of `registry.BASE_LEARNERS`.
      method: a name of `registry.METHODS`.
      given: setting -> value, of `config.MethodConfig` or of the section of either record.

    Raises:
      ValueError: for an unknown name or a bad value, and for a method that needs more than one training.
    """
    for kind, name, table in (("base", base, BASE_LEARNERS), ("method", method, METHODS)):
        if name not in table:
            raise ValueError(f"{kind} must be one of {', '.join(table)}, got {name!r}")
    of_base, of_method = BASE_LEARNERS[base], METHODS[method]
    if of_method.train:
        raise ValueError(
            f"method={method!r} trains several generations of networks, which a single fit cannot: "
            "use run.py or udal_tf.train"
        )
    if of_method.retrains_head:
        raise ValueError(
            f"method={method!r} trains in two stages, which a single fit cannot: use run.py or udal_tf.train"
        )
    if of_method.network:
        raise ValueError(f"method={method!r} replaces the network's last layer, which fit does not: use run.py")
    known = _names(MethodConfig, of_base.settings, of_method.settings)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(unknown)} of base={base!r} with method={method!r}, which have "
            + ", ".join(known)
        )
    preset = {**of_base.preset, **of_method.preset_with(base)}
    values = {**{name: value for name, value in preset.items() if name in known}, **given}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if isinstance(values.get("unlabeled_prior"), str):
        values["unlabeled_prior"] = (values["unlabeled_prior"],)

    def made(section: type[Section] | None, **more: Any) -> Any:
        return section and section(**{name: values[name] for name in _names(section) if name in values}, **more)

    try:
        config = made(MethodConfig, base=base, method=method)
        return config, Own(base=made(of_base.settings), method=made(of_method.settings))
    except ValueError as error:
        # The sections name their settings as flags.
        raise ValueError(re.sub(r"--(\w+)", r"\1", str(error))) from error
