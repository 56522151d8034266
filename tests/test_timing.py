"""training: the time that a run would take, from steps really done."""

import pytest

from udal_tf.config import resolve
from udal_tf.methods.learner import Learner
from udal_tf.training import timing

TINY = {"dataset": "folder", "image_size": 16, "depth": 10, "width": 1, "batch_size": 2, "unlabeled_ratio": 1}


@pytest.mark.parametrize("base", ["fixmatch", "supervised"])
def test_the_time_of_a_run_is_that_of_its_parts(monkeypatch, base):
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    config = resolve({**TINY, "base": base, "epochs": 3, "steps_per_epoch": 20})
    found = timing.measure(config, num_classes=3, test_images=5)
    assert found.steps == timing.FEWEST
    assert min(found.seconds_per_step, found.seconds_per_evaluation, found.seconds_to_compile) > 0
    expected = found.seconds_to_compile + 60 * found.seconds_per_step + 3 * found.seconds_per_evaluation
    assert found.total_seconds == pytest.approx(expected)


def test_generations_count_as_often_and_large_test_sets_as_a_part(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    evaluated = []
    monkeypatch.setattr(
        timing, "_evaluation_seconds", lambda config, data, *others: evaluated.append(len(data.test)) or 2.0
    )
    config = resolve({**TINY, "method": "crest", "generations": 4, "epochs": 1, "steps_per_epoch": 1})
    found = timing.measure(config, num_classes=3, test_images=250)
    assert evaluated == [100]
    assert found.seconds_per_evaluation == 5.0
    parts = found.seconds_to_compile + found.seconds_per_step + 5.0
    assert found.total_seconds == pytest.approx(4 * parts)


def test_the_steps_timed_are_those_of_training(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 1e9)
    monkeypatch.setattr(timing, "MOST", 3)
    shapes = []
    train_step = Learner.counted_train_step

    def watched(self, batch):
        shapes.append({key: tuple(values.shape) for key, values in batch.items() if key.startswith("x_")})
        return train_step(self, batch)

    monkeypatch.setattr(Learner, "counted_train_step", watched)
    found = timing.measure(resolve({**TINY, "unlabeled_ratio": 2}), num_classes=300, test_images=1)
    assert found.steps == 3
    # Traced once for the first call and once for calls of many steps.
    assert all(s == {"x_l": (2, 16, 16, 3), "x_w": (4, 16, 16, 3), "x_s": (4, 16, 16, 3)} for s in shapes) and shapes


class Clock:
    """Time that passes by calls of the runner alone: each step takes so many seconds, the first one more."""

    def __init__(self, monkeypatch, first, each):
        self.now, self.calls = 100.0, []
        monkeypatch.setattr(timing.time, "monotonic", lambda: self.now)

        class Runner:
            host_batch = None

            def __init__(self, *given):
                pass

            def __call__(runner, source, count):
                self.now += each * count if self.calls else first
                self.calls.append(count)

        monkeypatch.setattr(timing, "StepRunner", Runner)
        monkeypatch.setattr(timing, "_batches", lambda *given: None)
        monkeypatch.setattr(timing, "_evaluation_seconds", lambda *given: 0.5)


@pytest.mark.parametrize(
    ("first", "each", "calls", "steps", "per_step", "per_evaluation"),
    [
        # 4 s of steps of 0.5 s, two to a call.
        (8.0, 0.5, [1, 1, 1, 2, 2, 2, 2], 8, 0.5, 0.5),
        # The bound of 20 s passes in the third step after the first; 50 of 6 images are a third of 50/6 steps.
        (8.0, 5.0, [1, 1, 1, 1], 1, 5.0, 5.0 * 50 / 6 / 3),
        (12.0, 9.0, [1, 1], 1, 9.0, 9.0 * 50 / 6 / 3),
        (21.0, 9.0, [1], 0, 0.0, 0.0),
    ],
)
def test_no_step_is_begun_after_the_bound(monkeypatch, first, each, calls, steps, per_step, per_evaluation):
    clock, said = Clock(monkeypatch, first, each), []
    config = resolve({**TINY, "epochs": 3, "steps_per_epoch": 20})
    found = timing.measure(config, num_classes=3, test_images=50, limit=20.0, say=said.append)
    assert clock.calls == calls
    assert (found.steps, found.seconds_to_compile) == (steps, first)
    assert found.seconds_per_step == pytest.approx(per_step)
    assert found.seconds_per_evaluation == pytest.approx(per_evaluation)
    assert found.total_seconds == pytest.approx(first + 60 * per_step + 3 * per_evaluation)
    assert said[0] == "building and compiling" and ("timing an evaluation" in said) == (per_evaluation == 0.5)
