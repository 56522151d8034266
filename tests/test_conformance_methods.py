"""The later methods agree with their releases: every case of every file of tests/golden/methods."""

import numpy as np
import pytest
from method_vectors import GRADIENT, LOSS, PROBS, cases, make_learner, take

from udal_tf.config import TrainConfig


def test_flexda(golden):
    for case in cases(golden, "flexda"):
        given, counts = case.settings, case["is_labelled"]
        own = {
            "q_momentum": given["ema_p"],
            "alpha_every": "epoch" if given["alpha_from_epoch"] else "step",
            "ccr_weight": given["lambda_ccr"] if given["ccr"] else 0.0,
            "ccr_start": min(given["ccr_start"] / given["train_steps"], 1.0),
            "ccr_temperature": given["distill_T"] is not None,
        }
        # Of the steps of an epoch the schedule by steps knows nothing.
        per_epoch = given["steps_per_epoch"] if given["alpha_from_epoch"] else given["train_steps"]
        learner = make_learner(
            case,
            "flexda",
            own,
            TrainConfig(epochs=given["train_steps"] // per_epoch, steps_per_epoch=per_epoch),
            {"labeled_rows": counts.reshape(-1) > 0},
            alpha_min=given["alpha_min"],
            k=given["k"],
            threshold=given["threshold"],
            unlabeled_weight=given["lambda_u"],
        )
        np.testing.assert_allclose(case["p_data"], case.p_data, rtol=1e-6)
        learner.method.q.assign(np.float32(case["q_start"]))
        learner.step.assign(given["first_step"])
        for s, labels in enumerate(case["labels"]):
            views = {f"x_{view}": case[f"logits_{view}"][s] for view in "lws"}
            taken = take(learner, views, labels, first_row=s * counts.shape[1])
            case.close(taken.metrics["alpha"], "alpha", s, **LOSS)
            case.equal(taken.step.targets.numpy().argmax(axis=1), "pseudo", s)
            case.equal(taken.step.mask, "mask", s)
            case.close(taken.metrics["loss_labeled"], "loss_l", s, **LOSS)
            case.close(taken.metrics["loss_unlabeled"], "loss_u", s, **LOSS)
            case.close(taken.metrics.get("loss_ccr", 0.0), "loss_ccr", s, **LOSS)
            case.close(taken.metrics["loss"], "loss", s, **LOSS)
            case.close(float(learner.method.temperature) or 1.0, "temperature", s, **LOSS)
            case.close(learner.method.q, "q_after", s, **LOSS)
            case.close(taken.gradients["x_l"], "grad_l", s, **GRADIENT)
            case.close(taken.gradients["x_s"], "grad_s", s, **GRADIENT)
            assert not taken.gradients["x_w"].any()
        assert case.unused() == set()
