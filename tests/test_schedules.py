"""core.schedules: Eqs. 4 and 10 and the learning-rate factors."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from udal_tf.core import schedules


def test_alpha_falls_from_one_to_alpha_min():
    for progress, expected in ((0.0, 1.0), (0.5, 0.775), (1.0, 0.1)):
        np.testing.assert_allclose(schedules.alpha(progress, alpha_min=0.1, k=2), expected, rtol=1e-6)


def test_alpha_with_k_one_is_the_straight_line_of_equation_four():
    np.testing.assert_allclose(schedules.alpha(0.25, alpha_min=0.5, k=1), 0.875, rtol=1e-6)


def test_alpha_with_k_zero_is_alpha_min_from_the_first_step():
    for progress in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(schedules.alpha(progress, alpha_min=0.1, k=0), 0.1, rtol=1e-6)


def test_alpha_min_of_one_means_no_schedule():
    assert float(schedules.alpha(0.7, alpha_min=1.0, k=2)) == 1.0


def test_epoch_progress_counts_from_zero_and_moves_once_an_epoch():
    steps = [0, 1023, 1024, 64 * 1024 - 1]
    ours = [float(schedules.epoch_progress(step, steps_per_epoch=1024, epochs=64)) for step in steps]
    np.testing.assert_allclose(ours, [0.0, 0.0, 1 / 64, 63 / 64], rtol=1e-6)


def test_the_last_of_64_epochs_runs_at_alpha_0_128():
    progress = schedules.epoch_progress(64 * 1024 - 1, 1024, 64)
    np.testing.assert_allclose(schedules.alpha(progress, 0.1, 2), 0.1279, atol=5e-5)


def test_half_cosine_ends_where_crest_and_fixmatch_end():
    np.testing.assert_allclose(schedules.half_cosine(100, 100, level=1), 0.980785, rtol=1e-5)
    np.testing.assert_allclose(schedules.half_cosine(100, 100, level=7), 0.195090, rtol=1e-5)
    np.testing.assert_allclose(schedules.half_cosine(100, 100, level=8), 0.0, atol=1e-6)


def test_other_factors_at_the_middle():
    for name, expected in (("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)):
        np.testing.assert_allclose(schedules.learning_rate_factor(name, 50, 100, 0.0), expected, atol=1e-6)


def test_steps_fall_at_each_boundarys_own_step():
    for step, expected in ((0, 1.0), (499, 1.0), (500, 0.1), (999, 0.1), (1000, 0.01), (5000, 0.01)):
        np.testing.assert_allclose(schedules.steps(step, [500, 1000], 0.1), expected, rtol=1e-6)


def test_boundary_steps_are_the_first_at_or_behind_the_fraction():
    sixths = [Fraction(1, 6), Fraction(1, 3), Fraction("0.1")]
    assert schedules.boundary_steps(sixths, 3000) == (500, 1000, 300)
    assert schedules.boundary_steps(sixths, 10) == (2, 4, 1)
    # As floats, 0.1 times 30 is more than 3.
    assert schedules.boundary_steps([Fraction("0.1")], 30) == (3,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("steps", [0.0, 0.5, 1.0, 1.0, 0.1, 0.01]),
        ("constant", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.0, 0.475, 0.9, 0.51, 0.5, 0.25]),
    ],
)
def test_warm_up_multiplies_any_schedule_by_a_straight_line_from_zero(name, expected):
    settings = {"warmup": 0.1, "boundaries": [Fraction(1, 2), Fraction(3, 4)], "decay": 0.1}
    ours = [schedules.learning_rate_factor(name, step, 100, **settings) for step in (0, 5, 10, 49, 50, 75)]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_a_schedule_of_steps_without_boundaries_is_refused():
    with pytest.raises(ValueError, match="at least one boundary"):
        schedules.learning_rate_factor("steps", 0, 100)


def test_unknown_schedule_is_refused_by_name():
    with pytest.raises(ValueError, match="staircase"):
        schedules.learning_rate_factor("staircase", 0, 1, 0.0)


def test_eager_equals_graph():
    def both(step):
        progress = schedules.epoch_progress(step, 10, 5)
        return schedules.alpha(progress, 0.1, 2.0), schedules.half_cosine(step, 50, 7), schedules.steps(step, [20], 0.1)

    for eager, graph in zip(both(tf.constant(33)), tf.function(both)(tf.constant(33)), strict=True):
        np.testing.assert_allclose(eager, graph, rtol=1e-6)
