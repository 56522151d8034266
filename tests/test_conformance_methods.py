"""The later methods agree with their releases: every case of every file of tests/golden/methods."""

import numpy as np
import tensorflow as tf
from method_vectors import DOUBLE, GRADIENT, LOSS, PROBS, WEIGHTS, Case, Taken, cases, make_learner, take

from udal_tf.config import MethodConfig, OptimizerConfig, TrainConfig
from udal_tf.core import scores
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.methods.step import Step
from udal_tf.records.later_methods import adjusted

# Of the releases whose epochs the vectors count.
RELEASE = TrainConfig(epochs=500, steps_per_epoch=500)


def check_losses(case: Case, s: int, taken: Taken, **names: str) -> None:
    """Metrics by the names of the arrays, and the whole loss."""
    for metric, name in {**names, "loss": "loss"}.items():
        case.close(taken.metrics[metric], name, s, **LOSS)


def check_gradients(case: Case, s: int, taken: Taken, **names: str) -> None:
    """Gradients in the logits of the views by the names of the arrays; that of any other view is zero."""
    for view, gradient in taken.gradients.items():
        if view in names:
            case.close(gradient, names[view], s, **GRADIENT)
        else:
            assert not gradient.any(), (case.name, view)


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
            check_losses(case, s, taken, loss_labeled="loss_l", loss_unlabeled="loss_u")
            case.close(taken.metrics.get("loss_ccr", 0.0), "loss_ccr", s, **LOSS)
            case.close(float(learner.method.temperature) or 1.0, "temperature", s, **LOSS)
            case.close(learner.method.q, "q_after", s, **LOSS)
            check_gradients(case, s, taken, x_l="grad_l", x_s="grad_s")
        assert case.unused() == set()


def check_weights(case) -> None:
    """The weights and their average after each step, by a learner with as many weights whose optimizer is replaced."""
    given = case.settings
    start = case["weights_start"]
    assert start.shape == (12,)  # Those of a Dense from 3 features to 3 classes.
    small = Case("weights", {"classes": 3, "label_counts": [2, 1, 1]}, {})
    learner = make_learner(small, "none", {}, RELEASE)
    settings = OptimizerConfig(
        optimizer="adam_shrink", learning_rate=given["lr"], schedule="constant", weight_decay=given["wd"],
        ema_decay=given["ema_decay"],
    )  # fmt: skip
    learner = Learner(learner.model, Problem(small.p_data), MethodConfig(method="none"), settings, RELEASE)
    kernel, bias = learner.model.trainable_variables
    for variable, value in zip([kernel, bias, *learner.ema], 2 * [start[:9].reshape(3, 3), start[9:]], strict=True):
        variable.assign(value)
    views = {key: np.zeros([2, 3]) for key in ("x_l", "x_w", "x_s")}
    for s, change in enumerate(case["weight_changes"]):

        def apply(gradients, variables, change=change):
            kernel.assign_add(change[:9].reshape(3, 3))
            bias.assign_add(change[9:])

        learner.optimizer.apply = apply
        take(learner, views, np.array([0, 1]))
        raw, averaged = (np.concatenate([np.ravel(v) for v in pair]) for pair in ([kernel, bias], learner.ema))
        case.close(raw, "weights_after", s, **WEIGHTS)
        case.close(averaged, "averaged_after", s, **WEIGHTS)


def test_cdmad(golden):
    for case in cases(golden, "cdmad"):
        given = case.settings
        learner = make_learner(
            case, "cdmad", {"debias_start": given["debias_start"] / 500}, RELEASE, threshold=given["tau"]
        )
        learner.step.assign(given["epoch"] * RELEASE.steps_per_epoch)
        for s, labels in enumerate(case["labels"]):
            learner.method.blank = tf.constant(np.float32(case["logits_blank"][s])[:, None, :, None])
            names = {"x_l": "l", "x_w": "w", "x_s": "s", "x_s2": "s2"}
            taken = take(learner, {key: case[f"logits_{name}"][s] for key, name in names.items()}, labels)
            case.close(taken.step.targets, "pseudo", s, **PROBS)
            case.equal(taken.step.mask, "mask", s)
            check_losses(case, s, taken, loss_labeled="loss_l", loss_unlabeled="loss_u")
            check_gradients(case, s, taken, x_l="grad_l", x_s="grad_s", x_s2="grad_s2")
        learner.method.blank = tf.constant(np.float32(case["test_logits_blank"])[:, None, :, None])
        images = tf.constant(np.float32(case["test_logits"])[:, None, :, None])
        adjusted, plain = learner.logits(images, use_ema=True).numpy(), learner.network.logits(images).numpy()
        case.close(adjusted, "test_adjusted", rtol=0, atol=1e-5)
        case.equal(adjusted.argmax(axis=1), "test_prediction")
        case.equal(plain.argmax(axis=1), "test_prediction_unadjusted")
        case.close(scores.geometric_mean(tf.constant(case["class_accuracy"])), "geometric_mean", **DOUBLE)
        check_weights(case)
        assert case.unused() == set()


def test_debiaspl(golden):
    for case in cases(golden, "debiaspl"):
        given = case.settings
        two = given["multiviews"]
        own = {
            "debias_tau": given["tau"],
            "q_momentum": given["q_m"],
            "debias_views": 2 if two else 1,
            "cld_weight": given["lambda_cld"] if given["cld"] else 0.0,
        }
        settings = {"threshold": given["threshold"], "unlabeled_weight": given["lambda_u"]}
        learner = make_learner(case, "debiaspl", own, TrainConfig(), **settings)
        learner.method.q.assign(np.float32(case["q_start"]))
        keys = {kind: [f"x_{kind}", f"x_{kind}2"] if two else [f"x_{kind}"] for kind in "ws"}
        for s, labels in enumerate(case["labels"]):
            views = {"x_l": case["logits_l"][s]}
            for kind, of_kind in keys.items():
                views.update(zip(of_kind, np.split(case[f"logits_{kind}"][s], len(of_kind)), strict=True))
            taken = take(learner, views, labels)
            for number, (probs, targets, mask) in enumerate(reversed(taken.guesses)):
                case.close(probs, "pseudo_probs", (s, number), **PROBS)
                case.equal(targets.argmax(axis=1), "pseudo", (s, number))
                case.equal(mask, "mask", (s, number))
            assert len(taken.guesses) == case["pseudo"].shape[1]
            check_losses(case, s, taken, loss_labeled="loss_l", loss_unlabeled="loss_u")
            case.close(taken.metrics.get("loss_cld", 0.0), "loss_cld", s, **LOSS)
            case.close(learner.method.q, "q_after", s, **LOSS)
            case.close(taken.gradients["x_l"], "grad_l", s, **GRADIENT)
            strong = np.concatenate([taken.gradients[key] for key in keys["s"]])
            case.close(strong, "grad_s", s, **GRADIENT)
            assert not any(taken.gradients[key].any() for key in keys["w"])
        assert case.unused() == set()


def test_simpro(golden):
    for case in cases(golden, "simpro"):
        given = case.settings
        scale = given["unlabelled_batches"] / given["labelled_batches"]
        case.close(scale, "scale_ratio", **DOUBLE)
        own = {
            "simpro_tau": given["tau"],
            "simpro_every": given["steps"],
            "simpro_momentum": given["ema_u"],
            "simpro_scale": scale,
        }
        learner = make_learner(case, "simpro", own, TrainConfig(), threshold=given["threshold"])
        method = learner.method
        np.testing.assert_allclose(method.pi_all, case["pi_l"], rtol=1e-6)
        method.pi_unlabeled.assign(np.float32(case["pi_u_start"]))
        method.pi_all.assign(np.float32(case["pi_a_start"]))
        # What the uniform distribution adds to every class of a shift.
        constant = np.log(case.num_classes ** -given["tau"] + 1e-12)
        for s, labels in enumerate(case["labels"]):
            names = {"x_l": "l", "x_l2": "l_s", "x_w": "w", "x_s": "s", "x_s2": "s2"}
            taken = take(learner, {key: case[f"logits_{name}"][s] for key, name in names.items()}, labels)
            aligner, targets = taken.step.aligner, method.targets
            case.close(aligner.added(targets.labeled) + constant, "adjustment", s, **LOSS)
            case.close(constant - aligner.added(targets.pseudo_label), "adjustment_u", s, **LOSS)
            case.close(taken.step.targets, "pseudo", s, **PROBS)
            case.equal(taken.step.mask, "mask", s)
            check_losses(case, s, taken, loss_labeled="loss_l", loss_unlabeled="loss_u")
            check_gradients(case, s, taken, x_l="grad_l", x_l2="grad_l_s", x_s="grad_s", x_s2="grad_s2")
            epoch, position = divmod(s, given["steps"])
            if position == given["steps"] - 1:
                case.close(method.pi_unlabeled, "pi_u_after", epoch, **LOSS)
                case.close(method.pi_all, "pi_a_after", epoch, **LOSS)
        assert len(case["labels"]) == given["steps"] * len(case["pi_u_after"])
        assert case.unused() == set()


def heads(case: Case, s: int, names: dict[str, str], first: str, second: str) -> dict[str, np.ndarray]:
    """The views' logits of both heads side by side, [n, 2 C], by the endings of the heads' arrays."""
    return {
        key: np.concatenate([case[f"logits_{name}{first}"][s], case[f"logits_{name}{second}"][s]], axis=1)
        for key, name in names.items()
    }


def check_head_gradients(case: Case, s: int, taken: Taken, names: dict[str, str], first: str, second: str) -> None:
    """The gradients of both heads; that of the weak views is zero."""
    for view, gradient in taken.gradients.items():
        if names[view] == "w":
            assert not gradient.any()
            continue
        for ending, part in zip((first, second), np.split(gradient, 2, axis=1), strict=True):
            case.close(part, f"grad_{names[view]}{ending}", s, **GRADIENT)


def test_acr(golden, monkeypatch):
    names = {"x_l": "l", "x_w": "w", "x_s": "s", "x_s2": "s2"}
    for case in cases(golden, "acr"):
        given = case.settings
        # One τ for all of them, as in every recipe of the release.
        assert given["tau1"] == given["tau12"] == given["tau2"]
        tau, per_epoch = given["tau1"], given["steps"]
        epochs = given["first_epoch"] + given["epochs"]
        own = {
            "acr_tau": tau,
            "acr_start": min((given["est_epoch"] + 1) / epochs, 1.0),
            "acr_every": per_epoch,
            "acr_momentum": given["ema_u"],
        }
        inside = case["is_labelled"]
        learner = make_learner(
            case,
            "acr",
            own,
            TrainConfig(epochs=epochs, steps_per_epoch=per_epoch),
            {"labeled_rows": inside.reshape(-1) > 0},
            threshold=given["threshold"],
        )
        method, first = learner.method, given["first_epoch"] * per_epoch
        np.testing.assert_allclose(method.p_data, case["pi_l"], rtol=1e-6)
        method.u.assign(np.float32(case["u_start"]))
        method.sums.assign(np.float32(case["k_sums_start"]))
        method.renew(tf.constant(first, tf.int64), epochs * per_epoch)
        learner.step.assign(first)
        constant = np.log(case.num_classes**-tau + 1e-12)
        sums, renew = [], method.renew

        def recorded_renew(*arguments, method=method, sums=sums, renew=renew):
            sums.append(method.sums.numpy())
            renew(*arguments)

        monkeypatch.setattr(method, "renew", recorded_renew)
        for s, labels in enumerate(case["labels"]):
            taken = take(learner, heads(case, s, names, "_a", "_b"), labels, first_row=s * inside.shape[1])
            step = taken.step
            if s % per_epoch == 0:
                case.close(step.values["tau"], "tau", s // per_epoch, **LOSS)
                adjustment = step.aligner.added(method.targets.pseudo_label) + np.log(
                    case.num_classes ** -float(step.values["tau"]) + 1e-12
                )
                case.close(adjustment, "adjustment_a", s // per_epoch, **LOSS)
                case.close(step.aligner.added(adjusted(tau)) + constant, "adjustment_b", **LOSS)
            case.equal(step.targets.numpy().argmax(axis=1), "pseudo_a", s)
            case.equal(step.mask, "mask_a", s)
            targets, mask = method.balanced_guesses(step)
            case.equal(targets.numpy().argmax(axis=1), "pseudo_b", s)
            case.equal(mask, "mask_b", s)
            counted_labels, counted = method.counted(step)
            case.equal(counted_labels, "estimate_pseudo", s)
            case.equal(counted, "estimate_mask", s)
            case.close(method.u, "u_after", s, **LOSS)
            case.close(sums[s], "k_sums_after", s, **LOSS)
            check_losses(
                case,
                s,
                taken,
                loss_labeled="loss_l_a",
                loss_unlabeled="loss_u_a",
                loss_balanced="loss_l_b",
                loss_balanced_unlabeled="loss_u_b",
            )
            check_head_gradients(case, s, taken, names, "_a", "_b")
        assert case.unused() == set()


def test_abc(golden, monkeypatch):
    names = {"x_l": "l", "x_w": "w", "x_s": "sa", "x_s2": "sb"}
    for case in cases(golden, "abc"):
        learner = make_learner(case, "abc", {}, RELEASE)
        method = learner.method
        np.testing.assert_array_equal(case["label_counts"], case.counts)
        case.close(method.rates, "keep_labelled", **LOSS)
        learner.step.assign(case.settings["epoch"] * RELEASE.steps_per_epoch)
        for s, labels in enumerate(case["labels"]):
            numbers = [tf.constant(case[name][s], tf.float32) for name in ("uniform_l", "uniform_u")]
            monkeypatch.setattr(Step, "uniform", lambda self, count, stream=0, numbers=numbers: numbers[stream])
            taken = take(learner, heads(case, s, names, "", "2"), labels)
            step = taken.step
            case.equal(step.targets.numpy().argmax(axis=1), "pseudo", s)
            case.equal(step.mask, "mask", s)
            probs, mask = method.guesses(step)
            case.close(probs, "pseudo2", s, **PROBS)
            case.equal(mask, "mask2", s)
            for chances, name in zip(method.chances(step), "lu", strict=True):
                case.close(chances, f"keep_chance_{name}", s, **LOSS)
            case.equal(method.keep_labeled(step), "keep_l", s)
            case.equal(method.keep_unlabeled(step), "keep_u", s)
            check_losses(
                case,
                s,
                taken,
                loss_labeled="loss_l",
                loss_unlabeled="loss_u",
                loss_abc="loss_abc_l",
                loss_abc_strong="loss_abc_sa",
                loss_abc_strong2="loss_abc_sb",
            )
            check_head_gradients(case, s, taken, names, "", "2")
        check_weights(case)
        assert case.unused() == set()
