"""What a run prints: the figures of a hand-made row and result, in per cent."""

import dataclasses

from run_files import make_result, make_row

from udal_tf.config import Config, resolve
from udal_tf.reporting.console import (
    ema_warnings,
    epoch_text,
    hardware_text,
    la_choices_text,
    metrics_text,
    provenance_text,
    pseudo_label_warnings,
    result_text,
    settings_text,
)
from udal_tf.run_records import ByWeights, ClassesByWeights, LaChoice, PseudoLabelCounts, Scores

RECALL = ClassesByWeights(raw=[1.0, 0.0, None], ema=[0.9, 0.1, None], raw_la=[0.8, 0.2, None], ema_la=[0.7, 0.3, None])
SCORES = Scores(ByWeights(0.5, 0.625, 0.7, 0.8126), ByWeights(0.25, 0.3, 0.4, 0.45), RECALL)
TRAIN = {"loss": 1.23456, "alpha": 0.775, "confident": 0.5, "confident_correct": 0.25}
ROW = make_row(3, train=TRAIN, test=SCORES)
RESULT = make_result(SCORES, class_names=["cat", "dog", "cow"])


def cells(line: str) -> list[str]:
    """The last four words of a line of the table."""
    return line.split()[-4:]


def test_epoch_text_holds_the_figures_in_per_cent():
    assert epoch_text(ROW, 20).splitlines() == [
        "epoch  3/20  loss 1.2346  confident  50.0 %  α 0.775  test accuracy (balanced)",
        "  raw 50.0 (25.0)  EMA 62.5 (30.0)  raw + LA 70.0 (40.0)  EMA + LA 81.3 (45.0)",
    ]


def test_epoch_text_leaves_out_what_a_supervised_run_has_not():
    row = make_row(3, train={"loss": 1.0, "alpha": 1.0}, test=SCORES)
    assert "confident" not in epoch_text(row, 20)


def test_epoch_text_says_where_darp_cannot_reach_its_totals():
    for residual, said in ((0.0004, False), (0.0123, True)):
        text = epoch_text(make_row(3, train={**TRAIN, "darp_residual": residual}, test=SCORES), 20)
        assert ("DARP residual 1.2 % of the unlabeled images" in text) == said


OPTIMIZER = {"ema_decay": 0.999, "ema_warmup": False}
BEHIND = dataclasses.replace(SCORES, accuracy=ByWeights(0.502, 0.1, 0.5, 0.1))
NOT_CAUGHT_UP = "EMA has not caught up: raw 50.2 %, EMA 10.0 %; --ema_warmup helps"


def test_ema_weights_that_have_not_caught_up_are_named_after_the_epoch_and_under_the_result():
    row = make_row(3, train=TRAIN, test=BEHIND)
    assert epoch_text(row, 20, optimizer=OPTIMIZER).splitlines()[2:] == [f"  {NOT_CAUGHT_UP}"]
    train = {"epochs": 3, "steps_per_epoch": 10}
    result = make_result(BEHIND, class_names=["cat", "dog", "cow"], config={"optimizer": OPTIMIZER, "train": train})
    assert result_text(result).splitlines()[6:] == [NOT_CAUGHT_UP]
    long = dataclasses.replace(
        result, config={"optimizer": OPTIMIZER, "train": {"epochs": 64, "steps_per_epoch": 1024}}
    )
    assert len(result_text(long).splitlines()) == 6
    assert len(result_text(RESULT).splitlines()) == 6


def test_ema_weights_are_behind_by_more_than_five_points_with_a_hundredth_of_the_initial_weights_or_more():
    """0.999^4602 = 0.01001 and 0.999^4603 = 0.00999."""
    assert ema_warnings(BEHIND.accuracy, 4602, OPTIMIZER) == [NOT_CAUGHT_UP]
    assert ema_warnings(BEHIND.accuracy, 4603, OPTIMIZER) == []
    assert ema_warnings(BEHIND.accuracy, 10, {**OPTIMIZER, "ema_warmup": True}) == []
    for ema, number in ((0.46, 0), (0.44, 1), (0.6, 0)):
        assert len(ema_warnings(ByWeights(0.5, ema, 0.5, 0.5), 10, OPTIMIZER)) == number


NAMES = ["cat", "dog", "cow"]


def test_a_class_without_a_confident_pseudo_label_is_named():
    assert pseudo_label_warnings([5, 0, 5], None, [0.4, 0.2, 0.4], NAMES, epoch=3) == [
        "no confident pseudo-labels for class dog after epoch 3"
    ]
    assert pseudo_label_warnings([0, 0, 0], [0, 0, 0], [0.4, 0.2, 0.4], NAMES, epoch=10) == [
        "no confident pseudo-labels for any class after epoch 10"
    ]


def test_a_class_over_represented_in_the_pseudo_labels_is_named():
    """At more than twice its target and more than ten points above it; one alone is not enough."""
    assert pseudo_label_warnings([90, 5, 5], None, [0.4, 0.3, 0.3], NAMES, epoch=3) == [
        "class cat has 90 % of the confident pseudo-labels; its target is 40 %"
    ]
    assert pseudo_label_warnings([45, 44, 11], None, [0.49, 0.49, 0.02], NAMES, epoch=3) == []
    assert pseudo_label_warnings([75, 15, 10], None, [0.4, 0.3, 0.3], NAMES, epoch=3) == []


def test_wrong_pseudo_labels_are_named_where_there_are_enough_to_judge():
    confident, right = [20, 19, 40], [9, 0, 20]
    assert pseudo_label_warnings(confident, right, [0.25, 0.25, 0.5], NAMES, epoch=3) == [
        "only 45 % of 20 confident pseudo-labels for class cat are correct"
    ]


def test_pseudo_labels_are_looked_at_after_the_third_epoch_and_every_tenth():
    row = make_row(3, pseudo_labels=PseudoLabelCounts([5, 0, 5]), p_target=[0.4, 0.2, 0.4])
    rows = [dataclasses.replace(row, epoch=epoch) for epoch in range(1, 31)]
    said = [row.epoch for row in rows if "class dog" in epoch_text(row, 30, NAMES)]
    assert said == [3, 10, 20, 30]
    assert epoch_text(row, 30, NAMES).count("\n") == 2


def test_result_text_holds_the_figures_in_per_cent():
    lines = result_text(RESULT).splitlines()
    assert " ".join(lines[0].split()) == "test, % raw EMA raw + LA EMA + LA"
    assert [line.split()[:-4] for line in lines[1:]] == [
        ["accuracy"],
        ["balanced", "accuracy"],
        ["recall", "of", "cat"],
        ["recall", "of", "dog"],
        ["recall", "of", "cow"],
    ]
    assert cells(lines[1]) == ["50.00", "62.50", "70.00", "81.26"]
    assert cells(lines[2]) == ["25.00", "30.00", "40.00", "45.00"]
    assert cells(lines[3]) == ["100.00", "90.00", "80.00", "70.00"]
    assert cells(lines[4]) == ["0.00", "10.00", "20.00", "30.00"]


def test_result_text_marks_a_class_without_images():
    assert cells(result_text(RESULT).splitlines()[5]) == ["–", "–", "–", "–"]


def test_columns_of_the_result_stand_under_their_titles_within_80_columns():
    for name, lines in (("a_class_of_20_letters", 6), ("a class " * 20, 8)):
        printed = result_text(make_result(SCORES, class_names=["cat", "dog", name])).splitlines()
        assert len(printed) >= lines
        assert len({len(line) for line in printed}) == 1
        assert len(printed[0]) <= 80


def test_settings_that_differ_from_the_recipe_are_printed_and_on_request_all():
    """digits-LT's own recipe has 20 epochs, so that 20 is no change and 64, the general default, is one."""
    given = {"dataset": "digitslt", "workdir": "work", "seed": 3, "momentum": 0.9}
    text = settings_text(resolve({**given, "epochs": 64, "strong_ops": ("Rotate", "Color")}))
    assert text.splitlines() == [
        "Settings: dataset=digitslt  base=fixmatch  method=udal  arch=wrn",
        "  changed from the recipe:",
        "    strong_ops=Rotate,Color  epochs=64  seed=3",
        "  all settings: --show_settings, or config.json in the work folder",
        "Work folder: work",
    ]
    assert "changed" not in settings_text(resolve({**given, "epochs": 20, "seed": 0}))
    all_of_them = settings_text(resolve({**given, "show_settings": True})).split()
    for words in ("optimizer:", "learning_rate=0.03", "epochs=20", "seed=3", "depth=10", "workdir=work"):
        assert words in all_of_them
    assert "data_dir=" not in all_of_them


def test_what_was_changed_is_no_part_of_a_run():
    config = resolve({"dataset": "digitslt", "seed": 3})
    assert config.changed == ("seed",)
    assert config == Config.from_dict(config.to_dict()) and "changed" not in config.to_dict()


def test_hardware_text_says_nothing_of_tensorflows_default_strategy():
    one = {"strategy": "_DefaultDistributionStrategy", "replicas": 1, "device": "CPU"}
    assert hardware_text(one) == "Hardware: replicas=1  device=CPU"
    two = {"strategy": "MirroredStrategy", "replicas": 2, "device": "CPU"}
    assert hardware_text(two) == "Hardware: strategy=MirroredStrategy  replicas=2  device=CPU"


def test_provenance_text_has_a_line_per_fact():
    text = provenance_text({"source": "somewhere", "labeled_counts": [2, 1]})
    assert [line.strip() for line in text.splitlines()] == ["Data:", "source: somewhere", "labeled_counts: [2, 1]"]


def test_provenance_text_says_that_counts_of_a_pool_of_unknown_classes_are_of_the_known_ones():
    facts = {"unlabeled_counts": [2, 1], "unlabeled_of_unknown_class": 7}
    assert "  unlabeled_counts, of known class: [2, 1]\n" in provenance_text(facts)
    assert "class  unlabeled, of known class\n" in provenance_text(facts, ["cat", "dog"])
    assert "of known class" not in provenance_text({"unlabeled_counts": [2, 1]})


def test_provenance_text_has_a_table_of_counts_per_class():
    provenance = {
        "labeled_counts": [2, 1],
        "skipped_bad_images": 0,
        "unlabeled_counts": [7, 60],
        "test_counts": [3, 4, 5],
    }
    lines = provenance_text(provenance, ["apple", "mango 3"]).splitlines()
    assert lines[1:3] == ["  skipped_bad_images: 0", "  test_counts: [3, 4, 5]"]
    assert lines[3:] == [
        "  class    labeled  unlabeled",
        "  apple          2          7",
        "  mango 3        1         60",
    ]
    many = provenance_text({"labeled_counts": [*range(1000, 1021)]}, [str(c) for c in range(21)])
    assert many.splitlines()[1:] == ["  labeled_counts: 1,000 to 1,020 in each of 21 classes"]


def test_long_facts_are_wrapped_and_hashes_shortened():
    lines = provenance_text({"labeled_sha256": "0123456789abcdef" * 4, "source": "word " * 30}).splitlines()
    assert lines[1] == "  labeled_sha256: 0123456789ab…"
    assert lines[2].startswith("  source: word word") and lines[3].startswith("    word word")
    assert max(map(len, lines)) <= 80


def test_metrics_text_is_short_and_leaves_out_what_a_supervised_run_has_not():
    metrics = {"loss": 0.5, "alpha": 0.25, "confident": 0.75}
    assert metrics_text(metrics, 1234.5) == "loss=0.500 α=0.25 confident=75% 1,234 img/s"
    assert metrics_text({"loss": 0.125, "alpha": 1.0}, 50.0) == "loss=0.125 α=1.00 50 img/s"


def test_result_text_has_what_la_inf_gives_on_the_validation_images():
    choices = [LaChoice("none", 0.5, 0.25), LaChoice("labeled", 0.125, 0.75), LaChoice("own", 0.625, 1.0)]
    lines = la_choices_text(choices).splitlines()
    assert [line.split() for line in lines] == [
        [],
        ["validation,", "EMA,", "%", "accuracy", "balanced", "accuracy"],
        ["without", "LA", "(Inf)", "50.00", "25.00"],
        ["LA", "(Inf),", "prior", "labeled", "12.50", "75.00"],
        ["LA", "(Inf),", "prior", "own", "62.50", "100.00"],
    ]
