"""methods: the contract of every base × method, and what each alignment does to a step."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from udal_tf import registry
from udal_tf.config import ESTIMATE, MethodConfig, OptimizerConfig, Own, TrainConfig
from udal_tf.core import losses
from udal_tf.methods.aligner import Aligner
from udal_tf.methods.base import pseudo_label_counts
from udal_tf.methods.learner import Learner
from udal_tf.methods.method import Problem
from udal_tf.models.layers import FusedBatchNorm, conv
from udal_tf.records.methods import DarpConfig
from udal_tf.registry import BASE_LEARNERS, DATASETS, METHODS
from udal_tf.training import kernels

NUM_CLASSES, STEPS_PER_EPOCH, EPOCHS = 4, 2, 3
# Images in the unlabeled pool.
POOL = 30
P_DATA = np.array([0.55, 0.25, 0.15, 0.05], np.float32)


def allowed(base: str, method: str, **settings) -> bool:
    try:
        MethodConfig(base=base, method=method, **settings)
    except ValueError:
        return False
    return True


COMBINATIONS = [(base, method) for base in BASE_LEARNERS for method in METHODS if allowed(base, method)]


def network() -> keras.Model:
    """A layer of each kind that a Wide ResNet trains; small, for most of a test is the tracing of its step."""
    inputs = keras.Input((8, 8, 1))
    x = conv(8, 3, 2, "conv")(inputs)
    x = keras.layers.LeakyReLU(0.1)(FusedBatchNorm(0.9, name="post_bn")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(NUM_CLASSES, name="predictions")(x))


def make_learner(
    base="fixmatch", method="udal", p_data=P_DATA, p_unlabeled=None, optimizer=None, frozen=False, **settings
) -> Learner:
    keras.utils.set_random_seed(1)
    model = network()
    for layer in model.layers[:-1] if frozen else ():
        layer.trainable = False
    of_base = registry.BASE_LEARNERS[base].settings
    names = of_base.__dataclass_fields__ if of_base else ()
    own = {name: settings.pop(name) for name in list(settings) if name in names}
    config = MethodConfig(base=base, method=method, **{"threshold": 0.3, **settings})
    train = TrainConfig(epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH)
    if config.unlabeled_prior == (ESTIMATE,):
        p_unlabeled = np.full(NUM_CLASSES, 0.25, np.float32)
    problem = Problem(
        p_data,
        p_unlabeled,
        known_distribution=np.full(NUM_CLASSES, 0.01),
        labeled_counts=np.round(20 * p_data),
        pool_size=POOL,
    )
    of_method = DarpConfig(darp_warmup=0.5, darp_every=2) if METHODS[method].settings is DarpConfig else None
    sections = Own(base=of_base(**own) if of_base else None, method=of_method)
    return Learner(model, problem, config, optimizer or OptimizerConfig(), train, sections)


@functools.cache
def base_of(base: str):
    """A base learner that is asked for its views alone; nothing in them depends on the network."""
    return make_learner(base, "none").base


def views_of(base: str):
    return base_of(base).views


def make_batch(base="fixmatch", seed=0):
    random = np.random.RandomState(seed)
    batch = {}
    for key, of_set, _ in views_of(base):
        batch[key] = tf.constant(random.uniform(-1, 1, (6 if of_set == "labeled" else 12, 8, 8, 1)), tf.float32)
    if base_of(base).mixup_beta:
        sizes = [len(batch[key]) for key, _, _ in views_of(base)]
        pairs = np.split(random.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
        for (key, _, _), partners in zip(views_of(base), pairs, strict=True):
            batch[f"pair_{key}"] = tf.constant(partners, tf.int64)
            batch[f"mix_{key}"] = tf.constant(random.beta(0.75, 0.75, len(partners)), tf.float32)
    batch["labels_l"] = tf.constant(random.randint(0, NUM_CLASSES, 6), tf.int64)
    if any(of_set == "unlabeled" for _, of_set, _ in views_of(base)):
        batch["rotations_u"] = tf.range(12, dtype=tf.int64) % 4
        batch["labels_u"] = tf.constant(random.randint(0, NUM_CLASSES, 12), tf.int64)
        batch["rows_u"] = tf.constant(random.permutation(POOL)[:12], tf.int64)
    if base == "fixmatch":  # Views that some methods add.
        for key, count in (("x_l2", 6), ("x_w2", 12), ("x_s2", 12)):
            batch[key] = tf.constant(random.uniform(-1, 1, (count, 8, 8, 1)), tf.float32)
    return batch


# Whose first step is also done eagerly: between them every place of alignment, and the refinement, over every base.
EAGER = [pair for pair in COMBINATIONS if pair[1] in ("udal", "hybrid", "darp")]


@pytest.mark.parametrize(("base", "method"), COMBINATIONS)
def test_contract_of_every_base_and_method(base, method):
    """Finite figures, every trainable variable and its average move, q̂ sums to 1, one trace over three epochs; the
    eager step equals the graph's, which has kernels everywhere."""
    learner = make_learner(base, method)
    trained = [
        *learner.model.trainable_variables,
        *(v for head in learner.heads.values() for v in head.trainable_variables),
    ]
    before = [v.numpy() for v in trained]
    averages = [v.numpy() for v in learner.ema]
    step = tf.function(learner.train_step, autograph=False)
    alphas = []
    for number in range(STEPS_PER_EPOCH * EPOCHS):
        metrics = step(make_batch(base, number))
        if number == 0 and (base, method) in EAGER:
            eager = make_learner(base, method).train_step(make_batch(base, number))
            for name in eager:
                np.testing.assert_allclose(eager[name], metrics[name], rtol=1e-4, atol=1e-6, err_msg=name)
        assert all(np.isfinite(value) for value in metrics.values()), metrics
        alphas.append(float(metrics["alpha"]))
    graph = step.get_concrete_function(make_batch(base)).graph
    for device in (kernels.CPU, kernels.GPU, kernels.XLA_CPU, kernels.XLA_GPU):
        assert not kernels.missing(graph, device)
    assert not any(kernels.NOT_ON_TPU in dict(types).values() for _, types in kernels.operations(graph))
    assert step.experimental_get_tracing_count() == 1
    assert alphas == sorted(alphas, reverse=True) and alphas[0] == 1.0 > alphas[-1]
    for start, variable in zip(before, trained, strict=True):
        assert (start != variable.numpy()).any(), variable.path
    for start, average, variable in zip(averages, learner.ema, learner.network.averaged, strict=True):
        assert (start != average.numpy()).any(), variable.path
    np.testing.assert_allclose(tf.reduce_sum(learner.p_model()), 1.0, rtol=1e-5)
    assert int(learner.step) == STEPS_PER_EPOCH * EPOCHS


GRADIENTS = {"Conv2DBackpropFilter", "Conv2DBackpropInput", "FusedBatchNormGradV3"}


@pytest.mark.parametrize(
    ("base", "method", "optimizer"),
    [("fixmatch", "udal", "sgd"), ("fixmatch", "abc", "adam_shrink"), ("remixmatch", "darp", "adamw")],
)
def test_a_frozen_backbone_stays_bit_by_bit_has_no_gradient_and_all_heads_train(base, method, optimizer):
    learner = make_learner(base, method, optimizer=OptimizerConfig(optimizer=optimizer), frozen=True)
    backbone = [v for layer in learner.model.layers[:-1] for v in layer.variables]
    heads = [*learner.model.layers[-1].variables, *(v for head in learner.heads.values() for v in head.variables)]
    assert len(backbone) == 5 and learner.network.frozen
    before, heads_before = ([v.numpy() for v in variables] for variables in (backbone, heads))
    step = tf.function(learner.train_step, autograph=False)
    for number in range(2):
        metrics = step(make_batch(base, number))
    assert np.isfinite(metrics["loss"])
    for start, variable in zip(before, backbone, strict=True):
        np.testing.assert_array_equal(start, variable.numpy())
    for start, variable in zip(heads_before, heads, strict=True):
        assert (start != variable.numpy()).any(), variable.path
    rotation = 2 if base == "remixmatch" else 0
    assert len(learner.ema) == len(heads) - rotation and len(learner.optimizer.variables) >= len(heads)
    nodes = step.get_concrete_function(make_batch(base)).graph.as_graph_def().node
    assert not GRADIENTS & {node.op for node in nodes}


def test_a_trained_backbone_has_a_gradient():
    step = tf.function(make_learner().train_step, autograph=False)
    nodes = step.get_concrete_function(make_batch()).graph.as_graph_def().node
    assert {node.op for node in nodes} >= {"Conv2DBackpropFilter", "FusedBatchNormGradV3"}


def test_a_frozen_backbone_trains_on_the_features_of_inference():
    frozen, batch = make_learner(method="none", frozen=True), make_batch()
    norm = next(layer for layer in frozen.model.layers if isinstance(layer, FusedBatchNorm))
    norm.moving_mean.assign(tf.fill([8], 0.25))
    logits, _ = frozen.network(batch["x_l"], False)
    np.testing.assert_allclose(logits, frozen.logits(batch["x_l"], use_ema=False), rtol=1e-5)
    np.testing.assert_allclose(logits, frozen.model(batch["x_l"], training=True), rtol=1e-5)
    trained, _ = make_learner(method="none").network(batch["x_l"], False)
    assert np.abs(trained - logits).max() > 1e-3


def figures(learner, batch, steps=2):
    step = tf.function(learner.train_step, autograph=False)
    metrics = [step(batch) for _ in range(steps)]
    return float(metrics[-1]["loss"]), [v.numpy() for v in learner.model.trainable_variables]


def set_p_model(learner, distribution):
    learner.history.assign(tf.tile(tf.constant(distribution, tf.float32)[None], [128, 1]))


def test_udal_with_alpha_one_leaves_the_labeled_loss_alone():
    batch = make_batch()
    plain = make_learner(method="none").train_step(batch)
    udal = make_learner(method="udal", alpha_min=1.0).train_step(batch)
    assert float(udal["loss_labeled"]) == pytest.approx(float(plain["loss_labeled"]), rel=1e-6)
    assert float(udal["loss_unlabeled"]) != float(plain["loss_unlabeled"])


def test_udal_with_alpha_one_and_p_model_at_p_data_is_plain_fixmatch():
    batch, results = make_batch(), []
    for method in ("none", "udal"):
        learner = make_learner(method=method, alpha_min=1.0)
        set_p_model(learner, P_DATA)
        results.append(figures(learner, batch, steps=1))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for plain, udal in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(plain, udal, atol=1e-6)


def test_balanced_data_with_p_model_uniform_make_every_method_plain():
    uniform, batch = np.full(NUM_CLASSES, 0.25, np.float32), make_batch()
    plain = make_learner(method="none", p_data=uniform).train_step(batch)
    # Neither more views nor heads, nor a labeled loss of another form.
    like_plain = [name for name, m in METHODS.items() if not (m.views or m.second_head or m.network or name == "focal")]
    assert {"udal", "class_balanced", "suppressed"} < set(like_plain)
    for method in like_plain:
        aligned = make_learner(method=method, p_data=uniform).train_step(batch)
        np.testing.assert_allclose(aligned["loss"], plain["loss"], rtol=1e-5, err_msg=method)


def test_la_trains_the_labeled_loss_on_logits_plus_log_p_data():
    batch = make_batch()
    learner = make_learner(method="la")
    logits = learner.model(tf.concat([batch["x_l"], batch["x_w"], batch["x_s"]], 0), training=True)[:6]
    expected = tf.reduce_mean(losses.cross_entropy(batch["labels_l"], logits + np.log(P_DATA)))
    metrics = make_learner(method="la").train_step(batch)
    np.testing.assert_allclose(metrics["loss_labeled"], expected, rtol=1e-4)


def make_aligner(method, p_model, p_unlabeled=P_DATA, alpha=0.5) -> Aligner:
    values = {"p_data": P_DATA, "p_unlabeled": p_unlabeled, "p_model": p_model, "alpha": alpha}
    values |= {name: tf.constant(P_DATA) for name in ("tempered", "estimate", "pi_all", "pi_unlabeled", "blank")}
    values["tau"] = 2.0
    return Aligner(METHODS[method].targets, {name: tf.constant(value) for name, value in values.items()})


def test_only_the_places_of_a_method_are_touched():
    logits = tf.constant([[1.0, 2.0, 0.0, -1.0]])
    probs = tf.nn.softmax(logits)
    for method, record in METHODS.items():
        targets = record.targets
        aligner = make_aligner(method, p_model=[0.7, 0.1, 0.1, 0.1])
        assert (aligner.labeled_logits(logits) is logits) == (targets.labeled is None), method
        assert (aligner.unlabeled_logits(logits) is logits) == (targets.unlabeled is None), method
        assert (aligner.pseudo_probs(probs) is probs) == (targets.pseudo_label is None), method


def test_aligned_pseudo_labels_change_an_arg_max():
    aligner = make_aligner("da", p_model=[0.85, 0.05, 0.05, 0.05])
    probs = tf.constant([[0.5, 0.4, 0.05, 0.05]])
    assert int(tf.argmax(aligner.pseudo_probs(probs)[0])) == 1


def test_a_class_of_zero_prior_trains_finitely():
    with_zero = np.array([0.6, 0.3, 0.1, 0.0], np.float32)
    for method in METHODS:
        metrics = make_learner(method=method, p_data=with_zero).train_step(make_batch())
        assert np.isfinite(metrics["loss"]), method


def test_p_model_moves_after_the_step_by_the_weak_views_mean():
    learner, batch = make_learner(method="none"), make_batch()
    x = tf.concat([batch["x_l"], batch["x_w"], batch["x_s"]], 0)
    probs = tf.nn.softmax(make_learner(method="none").model(x, training=True))[6:18]
    metrics = learner.train_step(batch)
    assert abs(float(metrics["kl_uniform"])) < 1e-6
    expected = (127 * 0.25 + tf.reduce_mean(probs, axis=0)) / 128
    np.testing.assert_allclose(learner.p_model(), expected, atol=1e-5)


def test_weight_decay_leaves_batch_norm_alone_and_takes_the_dense_bias():
    learner = make_learner(method="none")
    decayed = {id(v) for v in learner._decayed}
    names = {v.path: id(v) in decayed for v in learner.model.trainable_variables}
    assert all(taken == ("_bn/" not in name) for name, taken in names.items()), names
    assert names["predictions/bias"]


def adam_in_numpy(weights, gradients, rates, decay=0.0):
    """Kingma & Ba 2015, Algorithm 1, in the form without bias-corrected copies; decoupled decay as DARP shrinks."""
    mean = square = np.zeros_like(weights)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        weights = weights * (1 - rate * decay)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rate = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = weights - rate * mean / (np.sqrt(square) + 1e-8)
    return weights


def record_gradients(learner) -> list[list[np.ndarray]]:
    """What the optimizer is given, per eager step."""
    steps, apply = [], learner.optimizer.apply

    def recorded(gradients, variables):
        steps.append([np.float64(gradient) for gradient in gradients])
        apply(gradients, variables)

    learner.optimizer.apply = recorded
    return steps


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_moves_every_weight_by_its_formula_at_the_schedules_rate(name):
    """Three steps. The linear schedule of 6 steps: factors 1, 5/6, 4/6. Batch norm is not decayed."""
    learner = make_learner(
        optimizer=OptimizerConfig(optimizer=name, learning_rate=0.01, schedule="linear", weight_decay=0.5)
    )
    variables = learner.model.trainable_variables
    before, gradients = [np.float64(v) for v in variables], record_gradients(learner)
    for number in range(3):
        learner.train_step(make_batch(seed=number))
    rates = [0.01, 0.01 * 5 / 6, 0.01 * 4 / 6]
    for i, (start, variable) in enumerate(zip(before, variables, strict=True)):
        decay = 0.5 if name == "adamw" and "_bn/" not in variable.path else 0.0
        expected = adam_in_numpy(start, [step[i] for step in gradients], rates, decay)
        np.testing.assert_allclose(variable, expected, rtol=2e-5, atol=2e-6, err_msg=variable.path)


def test_decoupled_weight_decay_is_not_in_the_loss():
    batch, losses_of = make_batch(), {}
    for name in ("adam", "adamw"):
        for decay in (0.0, 0.5):
            learner = make_learner(optimizer=OptimizerConfig(optimizer=name, weight_decay=decay))
            losses_of[name, decay] = {key: float(value) for key, value in learner.train_step(batch).items()}
    plain, decayed = losses_of["adam", 0.0], losses_of["adam", 0.5]
    assert decayed["loss"] == pytest.approx(plain["loss"] + 0.5 * plain["loss_l2"], rel=1e-6)
    assert losses_of["adamw", 0.5]["loss"] == losses_of["adamw", 0.0]["loss"] == plain["loss"]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_resumed_from_a_checkpoint_continues_bit_identically(tmp_path, name):
    """Both moments and the step count of their bias correction come back."""
    settings = OptimizerConfig(optimizer=name, learning_rate=0.01, schedule="constant")
    learner, resumed = (make_learner(optimizer=settings) for _ in range(2))
    for number in range(2):
        learner.train_step(make_batch(seed=number))
    path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(learner=resumed).read(path).assert_consumed()
    for one in (learner, resumed):
        one.train_step(make_batch(seed=2))
    for ours, theirs in zip(learner.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    for ours, theirs in zip(learner.model.trainable_variables, resumed.model.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    slots = [v for v in resumed.optimizer.variables if "velocity" in v.path]
    assert len(slots) == len(learner.model.trainable_variables) and all(np.abs(slot).max() > 0 for slot in slots)


@pytest.mark.parametrize("name", ["sgd", "adam_shrink"])
def test_the_compiled_update_is_one_node_in_place_of_ten_per_variable_and_moves_all_as_the_plain_one(name):
    moved, nodes = [], []
    for compiled in (False, True):
        learner = make_learner(optimizer=OptimizerConfig(optimizer=name, learning_rate=0.01, ema_warmup=True))
        learner.compiles_update = compiled
        step = tf.function(learner.train_step, autograph=False)
        for number in range(3):
            step(make_batch(seed=number))
        moved.append([v.numpy() for v in (*learner.model.variables, *learner.ema, *learner.optimizer.variables)])
        graph = step.get_concrete_function(make_batch()).graph.as_graph_def()
        nodes.append(sum(node.op not in ("Placeholder", "Const", "ReadVariableOp") for node in graph.node))
        functions = [function for function in graph.library.function if "_XlaMustCompile" in function.attr]
        assert len([one for one in functions if one.attr["_XlaMustCompile"].b]) == compiled
    for plain, fused in zip(*moved, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=0, atol=1e-6)
    gradients = [tf.zeros(v.shape) for v in learner._trained]
    plain = tf.function(learner._update, autograph=False).get_concrete_function(gradients, tf.constant(0.1))
    plain = plain.graph.as_graph_def()
    update = sum(node.op not in ("Placeholder", "Const", "ReadVariableOp") for node in plain.node)
    assert update > 10 * len(gradients) and nodes[1] == nodes[0] - update + 1


@pytest.mark.parametrize(("warmup", "decays"), [(False, [0.999] * 3), (True, [1 / 10, 2 / 11, 3 / 12])])
def test_ema_weights_follow_their_decay_which_is_constant_unless_it_is_to_warm_up(tmp_path, warmup, decays):
    """In a run that is resumed before its third step, too: the decay is a function of the step."""
    settings = OptimizerConfig(learning_rate=0.3, ema_warmup=warmup)
    learner = make_learner(optimizer=settings)
    expected = [v.numpy() for v in learner.ema]
    for number, decay in enumerate(decays):
        if number == 2:
            path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
            learner = make_learner(optimizer=settings)
            tf.train.Checkpoint(learner=learner).read(path).assert_consumed()
        learner.train_step(make_batch(seed=number))
        trained = [v.numpy() for v in learner.network.averaged]
        expected = [decay * e + (1 - decay) * v for e, v in zip(expected, trained, strict=True)]
        for average, value in zip(learner.ema, expected, strict=True):
            np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7)


def test_no_preset_or_recipe_warms_the_ema_up():
    assert not OptimizerConfig().ema_warmup
    presets = [record.preset for record in (*BASE_LEARNERS.values(), *METHODS.values())]
    assert "ema_warmup" not in str([*presets, *(dataset.recipe for dataset in DATASETS.values())])


def test_masked_examples_count_in_the_divisor():
    batch = make_batch()
    none_confident = make_learner(method="none", threshold=1.0).train_step(batch)
    assert float(none_confident["loss_unlabeled"]) == 0.0
    assert float(none_confident["confident"]) == 0.0


def test_averaged_weights_with_the_live_batch_norm_statistics_are_evaluated():
    learner, batch = make_learner(), make_batch()
    learner.train_step(batch)
    raw = learner.logits(batch["x_l"], use_ema=False)
    np.testing.assert_allclose(raw, learner.model(batch["x_l"], training=False), atol=1e-6)
    ema = learner.logits(batch["x_l"], use_ema=True)
    assert (np.abs(raw - ema) > 1e-4).any()
    for average, variable in zip(learner.ema, learner.model.trainable_variables, strict=True):
        variable.assign(average)
    np.testing.assert_allclose(ema, learner.model(batch["x_l"], training=False), atol=1e-6)


@pytest.mark.parametrize("bad", [[0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
@pytest.mark.parametrize("prior", ["p_data", "p_unlabeled"])
def test_a_prior_that_is_none_is_refused(bad, prior):
    with pytest.raises(ValueError, match=f"{prior} must be 4 probabilities that sum to 1"):
        make_learner(**{prior: np.array(bad, np.float32)})


def test_mixmatch_with_lambda_one_mixes_nothing():
    batch = make_batch("mixmatch")
    losses_of = []
    for partners in (range(30), reversed(range(30))):
        pairs = np.split(np.array(list(partners)), [6, 18])
        for (key, _, _), part in zip(views_of("mixmatch"), pairs, strict=True):
            batch[f"pair_{key}"] = tf.constant(part, tf.int64)
            batch[f"mix_{key}"] = tf.ones(len(part))
        metrics = make_learner("mixmatch", "none").train_step(batch)
        losses_of.append((float(metrics["loss_labeled"]), float(metrics["loss_unlabeled"])))
    assert losses_of[0] == losses_of[1]


def test_the_unlabeled_weight_rises_over_its_part_of_the_run():
    learner = make_learner("mixmatch", "none", unlabeled_weight=75.0, unlabeled_ramp=0.5)
    weights = []
    for step in range(5):
        learner.step.assign(step)
        weights.append(float(learner._ramp()) * 75.0)
    np.testing.assert_allclose(weights, [0, 25, 50, 75, 75])


def unmixed(batch, base):
    """The batch with λ = 1, so that every image stays itself."""
    return {**batch, **{f"mix_{key}": tf.ones(len(batch[key])) for key, _, _ in views_of(base)}}


def test_remixmatch_adds_its_four_losses_by_their_weights():
    batch = make_batch("remixmatch")
    learner = make_learner("remixmatch", "none", unlabeled_weight=1.5, premixup_weight=0.7, rotation_weight=0.3)
    metrics = {name: float(value) for name, value in learner.train_step(batch).items()}
    expected = metrics["loss_labeled"] + 1.5 * metrics["loss_unlabeled"] + 0.7 * metrics["loss_premixup"]
    expected += 0.3 * metrics["loss_rotation"] + OptimizerConfig().weight_decay * metrics["loss_l2"]
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert min(metrics["loss_premixup"], metrics["loss_rotation"], metrics["loss_unlabeled"]) > 0


def test_remixmatch_losses_are_cross_entropies_with_the_sharpened_guess_of_the_weak_view():
    """Everything computed anew in numpy from the network's logits."""
    batch = unmixed(make_batch("remixmatch"), "remixmatch")
    metrics = make_learner("remixmatch", "none", temperature=0.5, threshold=0.0).train_step(batch)
    learner = make_learner("remixmatch", "none")
    rotated = np.stack(
        [np.rot90(x, k) for x, k in zip(batch["x_s1"].numpy(), batch["rotations_u"].numpy(), strict=True)]
    )
    first, heads = learner.network(tf.concat([batch["x_w"], batch["x_s1"], rotated], 0), all_heads=True)
    logits_rotation = heads["rotation"]
    second = learner.model(tf.concat([batch[key] for key in ("x_l", "x_w", "x_s1", "x_s2")], 0), training=True)
    guess = np.exp(first[:12]) / np.exp(first[:12]).sum(axis=1, keepdims=True)
    guess = guess**2 / (guess**2).sum(axis=1, keepdims=True)

    def mean_cross_entropy(targets, logits):
        return np.mean(-np.sum(targets * np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)), axis=1))

    expected = {
        "loss_labeled": mean_cross_entropy(np.eye(NUM_CLASSES)[batch["labels_l"]], second[:6].numpy()),
        "loss_unlabeled": mean_cross_entropy(np.tile(guess, (3, 1)), second[6:].numpy()),
        "loss_premixup": mean_cross_entropy(guess, first[12:24].numpy()),
        "loss_rotation": mean_cross_entropy(np.eye(4)[batch["rotations_u"]], logits_rotation[24:].numpy()),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)


def test_remixmatch_ramps_all_but_the_labeled_and_the_rotation_loss():
    metrics = make_learner("remixmatch", "none", unlabeled_ramp=1.0).train_step(make_batch("remixmatch"))
    metrics = {name: float(value) for name, value in metrics.items()}
    expected = metrics["loss_labeled"] + 0.5 * metrics["loss_rotation"]
    assert metrics["loss"] == pytest.approx(expected + 5e-4 * metrics["loss_l2"], rel=1e-6)


def test_remixmatch_shows_as_many_strong_views_as_it_is_told():
    views = make_learner("remixmatch", strong_views=4).base.views
    assert [key for key, _, _ in views] == ["x_l", "x_w", "x_s1", "x_s2", "x_s3", "x_s4"]


def test_the_rotation_head_is_in_the_checkpoint_and_not_in_the_averages(tmp_path):
    learner = make_learner("remixmatch")
    learner.train_step(make_batch("remixmatch"))
    path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
    other = make_learner("remixmatch")
    tf.train.Checkpoint(learner=other).read(path).assert_consumed()
    for ours, theirs in zip(learner.heads["rotation"].variables, other.heads["rotation"].variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(learner.ema) == len(learner.model.trainable_variables)


def test_la_prior_is_the_labeled_one_the_label_average_or_the_target():
    batch = make_batch()
    shares = np.bincount(batch["labels_l"], minlength=NUM_CLASSES) / 6
    expected = {
        "labeled": P_DATA,
        "label_average": 0.999 * 0.25 + 0.001 * shares,
        "target": np.sqrt(P_DATA) / np.sqrt(P_DATA).sum(),
    }
    for kind, prior in expected.items():
        learner = make_learner(la_prior=kind, alpha_min=0.5, k=0.0)
        learner.train_step(batch)
        np.testing.assert_allclose(learner.la_prior(), prior, rtol=1e-5, err_msg=kind)


P_UNLABELED = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def test_the_estimate_is_for_every_method_that_aligns_to_the_unlabeled_images():
    by_base = {base: [m for m in METHODS if allowed(base, m, unlabeled_prior=(ESTIMATE,))] for base in BASE_LEARNERS}
    aligning = ["udal", "da", "da_la", "hybrid", "crest+", "darp", "da_darp"]
    assert by_base == {"fixmatch": aligning, "mixmatch": aligning, "remixmatch": aligning, "supervised": []}


@pytest.mark.parametrize("base", ["fixmatch", "mixmatch", "remixmatch"])
@pytest.mark.parametrize("method", ["udal", "da_la", "da_darp"])
def test_the_estimate_moves_in_one_trace_with_every_base_and_kind_of_alignment(base, method):
    """The model's own prior is p̃, uniform or p_data in these three, and between them they align at every place."""
    learner = make_learner(base, method, unlabeled_prior=(ESTIMATE,))
    step = tf.function(learner.train_step, autograph=False)
    for number in range(STEPS_PER_EPOCH * EPOCHS):
        assert np.isfinite(step(make_batch(base, number))["loss"])
    assert step.experimental_get_tracing_count() == 1
    shares = learner.p_unlabeled().numpy()
    assert shares.sum() == pytest.approx(1, abs=1e-5) and shares.min() >= 0.01
    assert (np.abs(shares - 0.25) > 1e-4).any()


def test_the_step_moves_the_estimate_by_the_weak_views_predictions_under_the_target():
    """All of it again from the parts: udal's own prior is p̃, which is the estimate itself while α is 1."""
    learner, batch = make_learner(unlabeled_prior=(ESTIMATE,)), make_batch()
    learner.step.assign(5)
    alpha = float(learner.aligner().alpha)
    learner.estimator.distribution.assign(P_UNLABELED)
    p_own = P_UNLABELED**alpha / np.sum(P_UNLABELED**alpha)
    x = tf.concat([batch["x_l"], batch["x_w"], batch["x_s"]], 0)
    probs = tf.nn.softmax(make_learner().model(x, training=True))[6:18].numpy()
    learner.train_step(batch)
    corrected = probs * P_UNLABELED / p_own
    corrected /= corrected.sum(axis=1, keepdims=True)
    moved = learner.estimator.distribution.numpy() - P_UNLABELED
    towards = corrected.mean(axis=0) - P_UNLABELED
    rate = np.dot(moved, towards) / np.dot(towards, towards)
    assert 0 < rate < 1
    np.testing.assert_allclose(moved, rate * towards, atol=1e-5)


def test_the_models_own_prior_is_where_its_labels_were_shifted_to():
    roots = np.sqrt(P_UNLABELED) / np.sqrt(P_UNLABELED).sum()
    expected = {"udal": roots, "hybrid": roots, "da": P_DATA, "crest+": P_DATA, "darp": P_DATA, "da_la": [0.25] * 4}
    for method, p_own in expected.items():
        aligner = make_aligner(method, p_model=P_DATA, p_unlabeled=P_UNLABELED)
        np.testing.assert_allclose(aligner.p_own(), p_own, rtol=1e-6, err_msg=method)


def test_the_target_is_made_from_the_unlabeled_prior_and_the_labels_still_come_by_p_data():
    logits, p_model = tf.zeros([1, 4]), np.float32([0.7, 0.1, 0.1, 0.1])
    roots = np.sqrt(P_UNLABELED) / np.sqrt(P_UNLABELED).sum()
    aligner = make_aligner("udal", p_model=p_model, p_unlabeled=P_UNLABELED)
    np.testing.assert_allclose(aligner.labeled_logits(logits)[0], np.log(P_DATA / roots), rtol=1e-5)
    np.testing.assert_allclose(aligner.unlabeled_logits(logits)[0], np.log(p_model / roots), rtol=1e-5)
    probs = p_model * (roots / p_model)
    aligned = make_aligner("da", p_model=p_model, p_unlabeled=P_UNLABELED).pseudo_probs(tf.constant([p_model]))
    np.testing.assert_allclose(aligned[0], probs / probs.sum(), rtol=1e-4)


def test_a_stated_prior_that_is_p_data_trains_bit_identically():
    batch = make_batch()
    for method in ("udal", "da", "da_darp"):
        plain = figures(make_learner(method=method), batch, steps=4)
        stated = figures(make_learner(method=method, p_unlabeled=P_DATA), batch, steps=4)
        assert plain[0] == stated[0]
        for one, other in zip(plain[1], stated[1], strict=True):
            np.testing.assert_array_equal(one, other)


def test_la_prior_target_follows_the_unlabeled_prior():
    learner = make_learner(p_unlabeled=P_UNLABELED, la_prior="target", alpha_min=0.5, k=0.0)
    np.testing.assert_allclose(learner.la_prior(), np.sqrt(P_UNLABELED) / np.sqrt(P_UNLABELED).sum(), rtol=1e-5)
    np.testing.assert_array_equal(make_learner(p_unlabeled=P_UNLABELED).la_prior(), P_DATA)


def test_the_estimate_is_in_the_checkpoint(tmp_path):
    learner, other = (make_learner(unlabeled_prior=(ESTIMATE,)) for _ in range(2))
    learner.estimator.distribution.assign(P_UNLABELED)
    path = tf.train.Checkpoint(learner=learner).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(learner=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.p_unlabeled(), P_UNLABELED)


def test_pseudo_labels_are_counted_by_class():
    batch = make_batch()
    metrics, counts = make_learner(threshold=0.0).counted_train_step(batch)
    truth = np.bincount(batch["labels_u"], minlength=NUM_CLASSES)
    assert counts["shown_of_class"].numpy().tolist() == truth.tolist()
    assert float(tf.reduce_sum(counts["confident_of_class"])) == len(batch["labels_u"])
    correct = float(tf.reduce_sum(counts["correct_of_class"])) / len(batch["labels_u"])
    assert correct == pytest.approx(float(metrics["confident_correct"]))


def test_counts_of_pseudo_labels_worked_by_hand():
    targets = tf.constant([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    counts = pseudo_label_counts(tf.constant([0, 1, 1, -1], tf.int64), targets, tf.constant([1.0, 1.0, 1.0, 0.0]))
    assert {name: value.numpy().tolist() for name, value in counts.items()} == {
        "confident_of_class": [2.0, 1.0],
        "correct_of_class": [1.0, 1.0],
        "shown_of_class": [1.0, 2.0],
    }
