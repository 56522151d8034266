"""An evaluation in tables: the figures stand where they belong."""

from udal_tf.reporting import assessment_tables


def kind(recall):
    per_class = {"precision": [None, 0.5], "recall": recall, "f1": [None, 0.625], "support": [0, 4]}
    return {
        "accuracy": 0.75,
        "balanced_accuracy": 0.875,
        "per_class": per_class,
        "confusion": [[0, 0], [1, 3]],
        "calibration": {"ece": 0.125},
    }


EVALUATION = {
    "class_names": ["cat", "long-haired dog"],
    "target_prior": {"stated": "some/where/shares.txt"},
    "plain": kind([None, 0.75]),
    "adjusted": kind([None, 1.0]),
}


def test_the_kinds_are_named_for_their_prior():
    assert assessment_tables.titles(EVALUATION) == {"plain": "without LA (Inf)", "adjusted": "LA (Inf), shares.txt"}


def test_rows_of_the_classes():
    heading, cat, dog = assessment_tables.per_class(EVALUATION).to_csv(index=False).splitlines()
    assert heading == (
        "class,images,precision_plain,recall_plain,f1_plain,precision_adjusted,recall_adjusted,f1_adjusted"
    )
    assert cat == "cat,0,,,,,,"
    assert dog == "long-haired dog,4,0.5,0.75,0.625,0.5,1.0,0.625"


def test_rows_of_the_confusion_matrices():
    frame = assessment_tables.confusion(EVALUATION)
    assert list(frame) == ["predictions", "true class", "cat", "long-haired dog"]
    assert frame.to_numpy().tolist() == [
        ["plain", "cat", 0, 0],
        ["plain", "long-haired dog", 1, 3],
        ["adjusted", "cat", 0, 0],
        ["adjusted", "long-haired dog", 1, 3],
    ]


def test_the_printed_table():
    lines = assessment_tables.text(EVALUATION).splitlines()
    words = [line.split() for line in lines]
    assert words[1] == ["accuracy", "75.0", "75.0"]
    assert words[2] == ["balanced", "accuracy", "87.5", "87.5"]
    assert words[3] == ["calibration", "error", "12.5", "12.5"]
    assert words[5] == ["class", "images", "precision", "+", "LA", "recall", "+", "LA", "F1", "+", "LA"]
    assert words[6] == ["cat", "0"] + ["–"] * 6
    assert words[7] == ["long-haired", "dog", "4", "50.0", "50.0", "75.0", "100.0", "62.5", "62.5"]
    for table in (lines[:4], lines[5:]):
        assert len({len(line) for line in table}) == 1
    assert max(map(len, lines)) <= 80
