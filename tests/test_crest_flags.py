"""CReST's command lines are translated into our settings, or refused with a reason."""

import pytest
from absl import flags

from udal_tf import config as config_module
from udal_tf import crest_flags
from udal_tf.config import flat, resolve

# As the release's README writes it, and as its run.sh does.
README = [
    "--model_dir=/runs/model", "--method=fixmatch", "--dataset=cifar10lt", "--input_shape=32,32,3",
    "--class_im_ratio=0.01", "--percent_labeled=0.1", "--fold=1", "--num_epoch=64", "--num_generation=6",
    "--sched_level=1", "--dalign_t=0.5", "--how_dalign=adaptive", "--do_distalign=True",
]  # fmt: skip
RUN_SH = [*README, "--unlab_ratio=7", "--temperature=0"]


def parsed(*arguments):
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    crest_flags.define_flags(flag_values)
    flag_values(["run.py", *arguments])
    return crest_flags.resolve_command_line(flag_values)


def test_readme_and_run_sh_resolve_to_the_same_settings():
    config, notes = parsed(*README)
    assert parsed(*RUN_SH)[0] == config
    assert (config.data.dataset, config.data.imbalance, config.data.beta, config.data.fold) == (
        "cifar10lt",
        100,
        0.1,
        1,
    )
    assert (config.method.base, config.method.method, config.generations) == ("fixmatch", "crest+", 6)
    assert (config.method.alpha_min, config.own.method.select_alpha, config.method.temperature) == (0.5, 3, 0)
    assert (config.train.epochs, config.train.steps_per_epoch, config.train.batch_size) == (64, 1024, 64)
    assert (config.train.unlabeled_ratio, config.optimizer.schedule_level) == (7, 1)
    assert (config.own.arch.depth, config.own.arch.width) == (28, 2)
    assert config.train.workdir == "/runs/model/cifar10lt_g100_b0.1_fixmatch_crest+_fold1"
    assert "--class_im_ratio=0.01 is --imbalance=100.0" in notes


def test_our_own_command_line_for_crest_plus_is_the_same_run():
    ours = resolve({"dataset": "cifar10lt", "imbalance": 100.0, "beta": 0.1, "method": "crest+"})
    assert config_module.differences(parsed(*README)[0], ours) == []


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        (["--method=fixmatch"], {"base": "fixmatch", "method": "none"}),
        (["--method=mixmatch"], {"base": "mixmatch", "method": "none"}),
        (["--method=fixmatch", "--num_generation=6"], {"method": "crest", "generations": 6}),
        (["--do_distalign", "--how_dalign=constant", "--dalign_t=0.7"], {"method": "da", "alpha_min": 0.7, "k": 0}),
        (["--do_distalign", "--how_dalign=adaptive", "--num_generation=3"], {"method": "crest+", "generations": 3}),
    ],
)
def test_method_flags_become_a_method(arguments, method):
    config, _ = parsed(*arguments)
    assert {name: flat(config.to_dict())[name] for name in method} == method


@pytest.mark.parametrize(("ratio", "imbalance"), [("0.1", 10), ("0.02", 50), ("0.01", 100), ("0.005", 200), ("1", 1)])
def test_the_ratio_is_turned_over(ratio, imbalance):
    assert parsed("--dataset=cifar10lt", f"--class_im_ratio={ratio}")[0].data.imbalance == imbalance


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--class_im_ratio=0.01", "--imbalance=100"], "--class_im_ratio is CReST's name for --imbalance"),
        (["--method=udal", "--do_distalign"], "--method=udal sets the alignment"),
        (["--bn_sync=True"], "the release ignores it"),
        (["--input_shape=64,64,3"], "only 32,32,3"),
        (["--num_labeled=25"], "the release ignores it"),
        (["--how_dalign=adaptive"], "need --do_distalign"),
        (["--do_distalign"], "moving average of labels"),
        (["--do_distalign", "--how_dalign=constant", "--num_generation=6"], "only with --num_generation=1"),
        (["--class_im_ratio=0"], "--class_im_ratio must be above 0"),
        (["--sched_type=step"], "--sched_type must be one of"),
        (["--model_dir=a", "--workdir=b"], "give only one of them"),
        (["--unsup_loss_type=mse"], "--base=fixmatch supports only xe"),
        (["--do_rollback=True"], "resumes from its last checkpoint automatically"),
    ],
)
def test_what_is_not_done_here_is_refused_with_the_reason(arguments, reason):
    with pytest.raises(ValueError) as error:
        parsed(*arguments)
    assert reason in str(error.value)


def test_a_flag_without_effect_is_said_to_have_none():
    assert any("--num_workers=4 has no effect" in note for note in parsed("--num_workers=4")[1])


def test_a_command_line_without_crest_flags_translates_nothing():
    config, notes = parsed("--dataset=cifar10lt", "--method=udal")
    assert notes == []
    assert config == resolve({"dataset": "cifar10lt", "method": "udal"})


def test_crests_alpha_without_generations_does_nothing_and_says_so():
    config, notes = parsed("--method=fixmatch", "--alpha=3")
    assert config.own.method is None
    assert notes[-1] == "--alpha=3.0 has no effect: nothing is selected without generations"
