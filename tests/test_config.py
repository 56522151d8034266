"""The resolved settings: recipes, presets, flags, validation."""

import dataclasses
import re
from fractions import Fraction

import numpy as np
import pytest
from absl import flags

from udal_tf import registry
from udal_tf.config import (
    Config,
    MethodConfig,
    common_fields,
    define_flags,
    differences,
    from_flags,
    given_on_command_line,
    resolve,
    section_fields,
)
from udal_tf.methods.crest import keep_rates
from udal_tf.records.base_learners import MixUpConfig
from udal_tf.records.methods import CrestConfig, DarpConfig
from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS, TABLES, Shift, Targets
from udal_tf.sections import RANDAUGMENT_OPS


def parsed(*arguments: str) -> Config:
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["run.py", *arguments])
    return from_flags(flag_values)


def test_the_papers_command_resolves_to_the_papers_recipe():
    config = parsed("--dataset=cifar10lt", "--imbalance=100", "--beta=0.1")
    assert (config.own.arch.depth, config.own.arch.width) == (28, 2)
    assert (config.train.batch_size, config.train.unlabeled_ratio) == (64, 7)
    assert (config.train.epochs, config.train.steps_per_epoch) == (64, 1024)
    assert (config.method.base, config.method.method) == ("fixmatch", "udal")
    assert (config.method.threshold, config.method.alpha_min, config.method.k) == (0.95, 0.10, 2)
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.03, 5e-4)
    assert config.optimizer.ema_decay == 0.999
    assert (config.optimizer.schedule, config.optimizer.schedule_level) == ("half_cosine", 1)
    assert (config.data.n1, config.data.imbalance, config.data.beta, config.data.fold) == (5000, 100, 0.1, 1)
    assert config.augment.strong_ops == RANDAUGMENT_OPS


def test_no_flags_at_all_train_udal_on_digits():
    config = parsed()
    assert (config.data.dataset, config.method.method, config.train.total_steps) == ("digitslt", "udal", 1000)


def test_distribution_alignment_falls_in_a_straight_line_to_one_half():
    for method in ("da", "da_la"):
        config = resolve({"method": method})
        assert (config.method.alpha_min, config.method.k) == (0.5, 1)


def test_what_the_user_gives_wins_over_every_recipe():
    config = parsed("--method=da", "--alpha_min=0.3", "--epochs=7", "--strong_ops=Rotate,Invert", "--noflip")
    assert (config.method.alpha_min, config.method.k, config.train.epochs) == (0.3, 1, 7)
    assert config.augment.strong_ops == ("Rotate", "Invert")
    assert config.augment.flip is False


def test_protocol_darp_has_its_own_sizes():
    data = resolve({"dataset": "cifar10lt", "protocol": "darp"}).data
    assert (data.n1, data.m1) == (1500, 3000)


def test_names_of_settings_are_unique_over_the_sections():
    sections = [s.default_factory for s in dataclasses.fields(Config) if s.name not in ("own", "changed")]
    fields = [field.name for section in sections for field in dataclasses.fields(section)]
    assert len(fields) == len(set(fields)) == len(common_fields())
    assert set(section_fields()) == set(fields) | set(registry.owners()) and not set(fields) & set(registry.owners())


def test_recipes_set_only_settings_that_exist():
    for dataset in DATASETS.values():
        assert set(dataset.recipe) - {"protocols", "bases", "methods"} <= set(section_fields())
    for base in BASE_LEARNERS.values():
        assert set(base.preset) <= set(section_fields())
    for method in METHODS.values():
        for preset in (method.preset, *method.presets_by_base.values()):
            assert set(preset) <= set(section_fields())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"beta": 0.0}, "--beta must be above 0 and at most 1, got 0.0"),
        ({"beta": 1.5}, "--beta must be above 0 and at most 1, got 1.5"),
        ({"imbalance": 0.5}, "--imbalance must be at least 1, got 0.5"),
        ({"method": "magic"}, "--method must be one of none, udal"),
        ({"alpha_min": 2.0}, "--alpha_min must be at least 0 and at most 1, got 2.0"),
        ({"learning_rate": -1.0}, "--learning_rate must be above 0, got -1.0"),
        ({"learning_rate": float("nan")}, "--learning_rate"),
        ({"fold": 6}, "--fold must be at least 1 and at most 5, got 6"),
        ({"depth": 11}, "--depth must be 6n"),
        ({"dataset": "mnist"}, "--dataset must be one of"),
        ({"strong_ops": ("Melt",)}, "--strong_ops"),
        ({"epochs": 2.5}, "--epochs must be of type int"),
        ({"base": "supervised", "method": "da"}, "--method=da"),
        ({"color": 1}, "unknown setting color"),
        ({"darp_delta": 2.0}, "--darp_delta belongs to --method=darp, da_darp, and this is --method=udal"),
        ({"method": "da", "generations": 2}, "--generations belongs to --method=crest, crest+, and this is"),
        ({"strong_views": 4}, "--strong_views belongs to --base=remixmatch, and this is --base=fixmatch"),
        ({"mixup_beta": 0.5}, "--mixup_beta belongs to --base=mixmatch, remixmatch, and this is --base=fixmatch"),
        ({"arch": "resnet50", "depth": 16}, "--depth belongs to --arch=wrn, and this is --arch=resnet50"),
    ],
)
def test_bad_values_are_refused_by_flag_value_and_range(given, named):
    with pytest.raises(ValueError) as error:
        resolve(given)
    assert named in str(error.value)


def test_a_section_alone_is_validated_too():
    with pytest.raises(ValueError, match="--k"):
        MethodConfig(k=-1.0)


def test_config_survives_its_json_form():
    config = resolve({"dataset": "cifar100lt", "strong_ops": ("Rotate",), "seed": 3})
    assert Config.from_dict(config.to_dict()) == config


def test_differences_name_the_flag_and_leave_out_where_files_lie():
    ours = resolve({"workdir": "a", "alpha_min": 0.2})
    theirs = resolve({"workdir": "b", "data_dir": "c"})
    assert differences(ours, theirs) == ["--alpha_min: 0.1 there, 0.2 here"]


def test_default_work_folders_differ_by_what_is_trained():
    given = [{}, {"method": "da"}, {"fold": 2}, {"seed": 1}, {"imbalance": 6.0}, {"beta": 0.2}, {"protocol": "darp"}]
    given += [{"unlabeled_prior": prior} for prior in (("estimate",), ("uniform",), ("1", "2"))]
    assert len({resolve(settings).train.workdir for settings in given}) == len(given)


def test_every_flag_has_a_help_text_with_its_range():
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    assert "above 0 and at most 1" in flag_values["beta"].help
    assert all(flag_values[name].help for name in section_fields())


def test_methods_place_alignment_as_the_design_states():
    scheduled, adjusted = Shift("p_data", "p_target"), Shift("p_data", "p_target", alpha="zero")
    assert METHODS["udal"].targets == Targets(labeled=scheduled, unlabeled=Shift("p_model", "p_target"))
    assert METHODS["da_la"].targets == Targets(labeled=adjusted, pseudo_label=Shift("p_model", "p_target"))


def test_a_recipe_for_one_base_learner_leaves_the_others_alone():
    assert resolve({}).method.threshold == 0.8
    assert resolve({"base": "mixmatch"}).method.threshold == 0.0
    assert resolve({"dataset": "imagenet127"}).method.threshold == 0.7
    assert resolve({"dataset": "imagenet127", "base": "mixmatch"}).method.unlabeled_weight == 75.0
    assert resolve({"threshold": 0.5}).method.threshold == 0.5


@pytest.mark.parametrize("word", ["labeled", "estimate", "uniform"])
def test_the_unlabeled_prior_is_a_word(word):
    assert parsed(f"--unlabeled_prior={word}").method.unlabeled_prior == (word,)
    assert parsed().method.unlabeled_prior == ("labeled",)


def test_a_file_of_shares_belongs_to_the_run_by_what_it_says(tmp_path):
    for name, text in (("a", "0.5\n2\n"), ("b.json", "[0.50, 2.0]"), ("c", "0.5\n3\n")):
        (tmp_path / name).write_text(text)
    a, b, c = (parsed(f"--unlabeled_prior={tmp_path / name}", "--workdir=w") for name in ("a", "b.json", "c"))
    assert a.method.unlabeled_prior == ("0.5", "2.0")
    assert a == b == Config.from_dict(a.to_dict())
    assert parsed("--unlabeled_prior=0.5,2.0", "--workdir=w") == a
    assert differences(c, a) == ["--unlabeled_prior: ['0.5', '2.0'] there, ['0.5', '3.0'] here"]


def test_an_unlabeled_prior_that_is_none_is_refused_with_what_is_allowed(tmp_path):
    (tmp_path / "negative").write_text("1\n-1\n")
    allowed = "--unlabeled_prior must be labeled, estimate, uniform, or a file or list of class proportions: "
    for given, said in (
        ("estimat", "estimat cannot be read: No such file"),
        (str(tmp_path / "negative"), "negative: a proportion must be at least 0 and finite, got '-1.0'"),
        ("1,two", "a proportion must be a number, got 'two'"),
        ("", "it has no proportions"),
    ):
        with pytest.raises(ValueError) as error:
            parsed(f"--unlabeled_prior={given}")
        assert str(error.value).startswith(allowed) and said in str(error.value), given


@pytest.mark.parametrize("prior", ["estimate", "uniform", "1,2"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--method=none"], "has no effect with --method=none.*use one of udal, da, da_la, hybrid, crest\\+, darp"),
        (["--method=la"], "has no effect with --method=la"),
        (["--method=crest"], "has no effect with --method=crest,"),
        (["--base=supervised"], "has no effect with --base=supervised"),
        (["--method=darp", "--darp_prior=1,2"], "--darp_prior=1,2 and --unlabeled_prior=.* both give"),
        (["--method=da_darp", "--darp_prior=estimate"], "--darp_prior=estimate and --unlabeled_prior=.* both give"),
    ],
)
def test_an_unlabeled_prior_without_effect_or_stated_twice_is_refused(prior, given, said):
    with pytest.raises(ValueError, match=said):
        parsed(f"--unlabeled_prior={prior}", *given)


def test_a_recipes_settings_of_a_network_that_is_not_taken_are_left_out():
    assert resolve({"arch": "resnet50"}).own.arch is None
    assert resolve({"dataset": "imagenet127", "arch": "wrn"}).own.arch.depth == 28


def test_every_choice_is_a_record_and_every_record_a_choice():
    for table in TABLES:
        names = [record.name for record in table.values()] + [family.usage for family in table.families]
        assert list(common_fields()[table.flag].metadata["choices"]()) == names


def test_no_two_methods_are_drawn_alike():
    for look in ("color", "marker"):
        looks = [getattr(method, look) for method in METHODS.values()]
        assert all(looks) and len(set(looks)) == len(looks) == 22


@pytest.mark.parametrize("base", ["fixmatch", "mixmatch", "remixmatch"])
def test_crest_takes_its_label_average_away_as_the_release(base):
    priors = {
        method: resolve({"base": base, "method": method}).method.la_prior
        for method in ("crest", "crest+", "udal", "none")
    }
    assert priors == {"crest": "label_average", "crest+": "label_average", "udal": "labeled", "none": "labeled"}
    assert resolve({"base": base, "method": "crest+", "la_prior": "labeled"}).method.la_prior == "labeled"


@pytest.mark.parametrize("method", ["crest", "crest+"])
def test_crest_on_imagenet_127_is_three_generations_with_the_exponent_0_7(method):
    config = resolve({"dataset": "imagenet127", "method": method})
    assert (config.generations, config.train.epochs, config.method.alpha_min) == (3, 2000, 0.5)
    # The rarest of 286:1 keeps all, the largest class 286^-0.7 = exp(-0.7 · 5.65599) = 0.01908.
    rates = keep_rates(np.array([286, 1], np.float32) / 287, config.own.method.select_alpha)
    np.testing.assert_allclose(rates, [0.01908, 1.0], rtol=1e-3)
    assert resolve({"dataset": "imagenet127", "method": method, "epochs": 5}).train.epochs == 5


def test_schedule_boundaries_are_exact_however_they_are_written():
    config = resolve({"schedule": "steps", "schedule_boundaries": ("0.1", "1/2", 0.75)})
    assert config.optimizer.boundaries == (Fraction(1, 10), Fraction(1, 2), Fraction(3, 4))
    assert Config.from_dict(config.to_dict()) == config
    assert given_on_command_line(["--schedule_boundaries=1/3,2/3"]) == {"schedule_boundaries": ("1/3", "2/3")}


@pytest.mark.parametrize(
    ("boundaries", "said"),
    [
        (("half",), "must be numbers such as 0.5 or 1/2, got 'half'"),
        (("1/0",), "must be numbers such as 0.5 or 1/2, got '1/0'"),
        (("nan",), "must be numbers such as 0.5 or 1/2, got 'nan'"),
        (("0", "1/2"), "must be increasing and between 0 and 1, got '0,1/2'"),
        (("1/2", "1"), "must be increasing and between 0 and 1, got '1/2,1'"),
        (("3/4", "1/2"), "must be increasing and between 0 and 1, got '3/4,1/2'"),
        (("1/2", "0.5"), "must be increasing and between 0 and 1, got '1/2,0.5'"),
        ((), "--schedule=steps needs at least one"),
    ],
)
def test_schedule_boundaries_that_are_none_are_refused(boundaries, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        resolve({"schedule": "steps", "schedule_boundaries": boundaries})


def test_a_records_own_section_is_found_by_its_class():
    config = resolve({"method": "crest", "base": "remixmatch", "select_alpha": 2.5})
    assert config.own_section(CrestConfig).select_alpha == 2.5
    assert config.own_section(MixUpConfig) is config.own.base  # ReMixMatch's is one of MixUp, too.
    with pytest.raises(TypeError, match="there is no DarpConfig among"):
        config.own_section(DarpConfig)
