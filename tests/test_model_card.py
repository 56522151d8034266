"""The model card: figures from the run's own files, the command that trains the same, and limits that hold."""

import json
import shlex
import shutil

import pytest
from absl import flags

import udal_tf
from udal_tf import config as config_module
from udal_tf.config import resolve
from udal_tf.inference import model_card, usage


def export(**given):
    facts = {"format": "keras", "target_prior": None, "source_prior": "labeled", "compared": "made up"}
    return model_card.Export(**{**facts, "differences": {"random images": 1.25e-7}, **given})


@pytest.fixture(scope="module")
def model(tiny_run):
    return udal_tf.load(tiny_run)


def resolved(command):
    flag_values = flags.FlagValues()
    config_module.define_flags(flag_values)
    words = shlex.split(command)
    assert words[:2] == ["python", "run.py"]
    flag_values(words[1:])
    return config_module.from_flags(flag_values)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"dataset": "cifar10lt", "method": "crest+", "base": "mixmatch", "fold": 3, "generations": 2},
        {"dataset": "cifar10lt", "protocol": "darp", "method": "darp", "darp_prior": ("1", "2"), "imbalance_u": 5.0},
        {"dataset": "folder", "data_dir": "my photos", "strong_ops": ("Rotate", "Invert"), "flip": False},
    ],
)
def test_the_command_trains_the_same(given):
    config = resolve(given)
    again = resolved(model_card.training_command(config))
    assert config_module.differences(config, again) == []
    assert again.data.data_dir == config.data.data_dir


def test_the_command_names_what_differs_from_the_recipe_alone():
    assert model_card.training_command(resolve({"fold": 2})) == (
        "python run.py --dataset=digitslt --base=fixmatch --method=udal --fold=2"
    )


def test_a_card_has_the_figures_of_its_run(model, tiny_run):
    card = model_card.card(model, export())
    result = json.loads((tiny_run / "result.json").read_text())
    assert f"accuracy {100 * result['accuracy']['ema']:.1f} %" in card
    assert f"balanced accuracy {100 * result['balanced_accuracy']['ema_la']:.1f} %" in card
    recalls = [f"{100 * result['per_class_recall'][weights][3]:.1f}" for weights in ("ema", "ema_la")]
    # Class 3: 6 labeled and 46 further images in the pool, 50 test images; p_data 12^(−3/9), normalized.
    assert f"| 3 | 6 | 46 | 0.1125 | 50 | {recalls[0]} | {recalls[1]} |" in card
    assert "step 4 of 4" in card
    assert "scikit-learn load_digits" in card
    assert "at most 1.2e-07 on random images; the limit is 1e-05" in card
    assert model_card.training_command(model.folder.config) in card
    assert usage.program(model, "keras") in card


def test_a_card_never_shows_labeled_images_as_unlabeled_ones(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    # As earlier versions counted them: the pool's images of known class, which are the labeled ones.
    result["data"] |= {"unlabeled_counts": result["data"]["labeled_counts"], "unlabeled_of_unknown_class": 7}
    (run / "result.json").write_text(json.dumps(result))
    card = model_card.card(udal_tf.load(run), export())
    assert "| class | labeled | p_data |" in card and "- unlabeled_of_unknown_class: 7" in card


def test_a_card_of_raw_weights_has_the_figures_of_raw_weights(tiny_run):
    card = model_card.card(udal_tf.load(tiny_run, "raw"), export())
    result = json.loads((tiny_run / "result.json").read_text())
    assert f"without LA (Inf): accuracy {100 * result['accuracy']['raw']:.1f} %" in card
    assert "raw weights at the end of training" in card


def test_a_card_says_which_prior_is_inside(model):
    assert "those of the model without LA (Inf)" in model_card.card(model, export())
    card = model_card.card(model, export(target_prior=[1] * 9 + [11]))
    assert "LA (Inf) is built in: it replaces the class prior p_data of the labeled images" in card
    assert "| 9 | 1 | 9 | 0.0215 | 0.5500 | 50 |" in card


def test_limits_name_the_classes_with_few_labels_and_the_chosen_epoch(model, tiny_run):
    card = model_card.card(model, export())
    assert "fewer than 10 labeled images: 2 (7), 3 (6), 4 (4), 5 (3), 6 (3), 7 (2), 8 (2), 9 (1)." in card
    assert "fewer than 30 test images" not in card
    assert "selected on the test images" not in card
    assert "selected on the test images" in model_card.card(udal_tf.load(tiny_run, "best"), export())


def test_a_card_of_an_unfinished_run_says_so(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "result.json").unlink()
    card = model_card.card(udal_tf.load(run, unfinished=True), export())
    assert "Training was not finished." in card
    assert "| 3 | 0.1125 |" in card


def test_facts_for_programs(model):
    facts = model_card.facts(model, export(target_prior="uniform"))
    assert facts["class_names"] == [str(c) for c in range(10)]
    assert facts["input"] == {"name": "images", "dtype": "uint8", "shape": [None, None, None, 1]}
    assert facts["quantized"] is None
    assert facts["la_inf"]["target"] == pytest.approx([0.1] * 10)
    assert facts["la_inf"]["source"] == pytest.approx(model.p_data.tolist())
    assert model_card.facts(model, export())["la_inf"] is None
    assert json.loads(json.dumps(facts)) == facts


def test_facts_name_the_signatures_of_a_savedmodel(model):
    facts = model_card.facts(model, export(format="savedmodel"))
    assert facts["input"]["shape"] == [None, None, None, 1]
    assert facts["signatures"] == {
        "serve_fixed": {"name": "images", "dtype": "uint8", "shape": [None, 8, 8, 1]},
        "serve_bytes": {"name": "image_bytes", "dtype": "string", "shape": [None]},
    }
    assert model_card.facts(model, export(format="onnx"))["input"]["shape"] == [None, 8, 8, 1]


def test_a_card_has_the_second_program_of_a_savedmodel(model):
    card = model_card.card(model, export(format="savedmodel"))
    assert usage.program(model, "savedmodel") in card and usage.encoded_program() in card
    assert usage.encoded_program() not in model_card.card(model, export(format="tflite"))
