"""training: runs that start from published weights, from files and from earlier runs, trained further or frozen."""

import functools
import hashlib
import http.server
import importlib
import inspect
import shutil
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_applications import MODULES
from tiny_application import tiny

import udal_tf
from udal_tf import storage
from udal_tf.commands import export
from udal_tf.config import resolve
from udal_tf.data.dataset import DataError
from udal_tf.models import pretrained
from udal_tf.models.build import build_model
from udal_tf.models.stock import stock_copy
from udal_tf.registry import BACKBONES, Backbone
from udal_tf.run_dir import RunDir, RunDirError
from udal_tf.training import loop
from udal_tf.warm_start import network_of

pytestmark = pytest.mark.usefixtures("undrawn", "small_network")

RANDOM = np.random.RandomState(0)
X = RANDOM.randint(0, 256, (12, 16, 16, 3)).astype(np.uint8)
Y = np.arange(12) % 3
DATA = {
    "labeled": (X, Y),
    "unlabeled": RANDOM.randint(0, 256, (20, 16, 16, 3)).astype(np.uint8),
    "test": (X[:6], Y[:6]),
    "class_names": ("ant", "bee", "cow"),
}
# Labels have been added since, among them those of a class in the middle.
MORE = DATA | {
    "labeled": (X, np.arange(12) % 4),
    "test": (X[:8], np.arange(8) % 4),
    "class_names": ("ant", "bat", "bee", "cow"),
}
SHORT = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 4, "unlabeled_ratio": 1}
TINY = {**SHORT, "depth": 10, "width": 1, "ema_decay": 0.5}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory, undrawn, small_network):
    """The work folder of a short supervised run."""
    folder = tmp_path_factory.mktemp("initial") / "earlier"
    udal_tf.train(DATA, folder, **TINY, base="supervised", method="none", learning_rate=0.1)
    return folder


def backbone_of(network):
    return [v.numpy() for layer in network.layers[:-1] for v in layer.weights]


# Of a checkpoint: the number of saves, of which an interrupted run has more, and a description of its objects.
NOT_VALUES = ("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")


def last_state(folder):
    """Every value in a run's last checkpoint by name."""
    reader = tf.train.load_checkpoint(str(folder / "checkpoints"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not set(NOT_VALUES) & set(name.split("/"))
    }


FROZEN = {**SHORT, "freeze": "backbone", "method": "abc", "ema_decay": 0.5}


@pytest.fixture(scope="module")
def frozen(earlier, tmp_path_factory):
    """A run on the earlier one's backbone, frozen, with a class more."""
    folder = tmp_path_factory.mktemp("frozen") / "run"
    udal_tf.train(MORE, folder, **FROZEN, pretrained=str(earlier))
    return folder


def test_a_frozen_backbone_is_that_of_the_earlier_run_bit_by_bit_and_the_heads_move(earlier, frozen):
    before, after = udal_tf.load(earlier).network, udal_tf.load(frozen).network
    assert len(backbone_of(before)) == 3 * 4 + 3
    for theirs, ours in zip(backbone_of(before), backbone_of(after), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    for theirs, ours in zip(before.layers[-1].get_weights(), after.layers[-1].get_weights(), strict=True):
        assert (theirs != ours[..., [0, 2, 3]]).all()
    config = RunDir(frozen).config()
    # Its network is the earlier run's, which nobody named.
    assert (config.own.arch.depth, config.own.arch.width, config.train.total_steps) == (10, 1, 4)
    assert config.optimizer.learning_rate == 0.03
    # One EMA and one momentum for each of the two weights of the two heads, and no more.
    names = last_state(frozen)
    assert sum("/ema/" in name for name in names) == 4


class _Stopped(Exception):
    pass


def test_a_frozen_run_resumes_exactly_even_without_the_earlier_one(earlier, frozen, tmp_path, monkeypatch):
    check, copy = loop._Run._check_finite, tmp_path / "copy"
    shutil.copytree(earlier, copy)

    def stopped(self, rows, step):
        if step >= 2:
            raise _Stopped
        check(self, rows, step)

    call = functools.partial(udal_tf.train, MORE, tmp_path / "run", **FROZEN, pretrained=str(copy))
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_check_finite", stopped)
        with pytest.raises(_Stopped):
            call()
    shutil.rmtree(copy)
    call()
    whole, resumed = last_state(frozen), last_state(tmp_path / "run")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_a_frozen_run_is_exported_and_loaded_as_any_other(frozen, tmp_path, call_command):
    code, _, err = call_command(export.main, frozen, tmp_path / "out", "--format=keras")
    assert (code, err) == (0, "")
    probs = udal_tf.load(frozen).predict(X).probs
    exported = keras.models.load_model(tmp_path / "out" / "model.keras")
    np.testing.assert_allclose(exported(X.astype(np.float32)), probs, atol=1e-5)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "freeze='backbone'" in card and "pretrained_sha256" not in card


def test_classes_of_the_same_name_start_from_their_rows_and_new_ones_anew(earlier, tmp_path, capsys):
    # A step so small that the weights stay what they were.
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 1, "steps_per_epoch": 1}
    udal_tf.train(MORE, tmp_path / "run", **SHORT | still, pretrained=str(earlier))
    assert "of the last layer 3 of 4 classes, new: bat" in capsys.readouterr().out
    before, after = (udal_tf.load(folder).network.layers[-1] for folder in (earlier, tmp_path / "run"))
    np.testing.assert_allclose(before.kernel.numpy(), after.kernel.numpy()[:, [0, 2, 3]], atol=1e-7)
    np.testing.assert_allclose(before.bias.numpy(), after.bias.numpy()[[0, 2, 3]], atol=1e-7)
    assert after.bias.numpy()[1] == pytest.approx(0.0, abs=1e-7) and np.abs(after.kernel.numpy()[:, 1]).max() > 0.01
    averages = udal_tf.load(tmp_path / "run", weights="raw").network.layers[-1].kernel.numpy()
    np.testing.assert_allclose(averages, after.kernel.numpy(), atol=1e-7)


def test_a_run_goes_on_only_with_the_initial_weights_that_it_began_with(earlier, frozen):
    digest = RunDir(frozen).config().model.pretrained_sha256
    last = sorted((earlier / "checkpoints").glob("ckpt-4.*"))
    assert digest == hashlib.sha256(b"".join(path.read_bytes() for path in last)).hexdigest()
    index = earlier / "checkpoints" / "ckpt-4.index"
    whole = index.read_bytes()
    index.write_bytes(whole + b"\0")
    try:
        with pytest.raises(RunDirError, match=f"--pretrained_sha256: {digest} there"):
            udal_tf.train(MORE, frozen, **FROZEN, pretrained=str(earlier))
    finally:
        index.write_bytes(whole)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"depth": 16}, r"another network \(--depth=10 there, 16 here\)"),
        ({"arch": "resnet50", "image_size": 32}, r"--arch=wrn there, resnet50 here; --depth=10 there, none here"),
        ({"pretrained": "nowhere"}, "--pretrained=nowhere must be imagenet, .* of a run, but it does not exist"),
        ({"pretrained": "gone.weights.h5"}, "--pretrained=gone.weights.h5 is not a file"),
    ],
)
def test_weights_of_another_network_or_of_none_are_refused_by_name(earlier, tmp_path, given, words):
    with pytest.raises(ValueError, match=words):
        udal_tf.train(MORE, tmp_path / "run", **SHORT | {"pretrained": str(earlier)} | given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["whole.weights.h5", "whole.keras"])
def test_a_whole_network_in_a_file_gives_all_but_its_last_layer(tmp_path, name):
    config = resolve({"depth": 10, "width": 1, "pretrained": str(tmp_path / name)})
    source = build_model(config.model, (16, 16, 3), 7, own=config.own.arch)
    source.layers[2].moving_mean.assign(tf.fill([16], 0.5))
    source.save_weights(tmp_path / name) if "h5" in name else stock_copy(source).save(tmp_path / name)
    model = build_model(config.model, (16, 16, 3), 3, own=config.own.arch)
    head = model.layers[-1].get_weights()
    pretrained.load_file(
        model, config.model, lambda classes: build_model(config.model, (16, 16, 3), classes, own=config.own.arch)
    )
    for theirs, ours in zip(backbone_of(source), backbone_of(model), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], head[0])
    wider = resolve({"depth": 10, "width": 2, "pretrained": str(tmp_path / name)})
    with pytest.raises(ValueError, match="does not hold the weights of the network of --arch=wrn"):
        pretrained.load_file(
            build_model(wider.model, (16, 16, 3), 3, own=wider.own.arch),
            wider.model,
            lambda classes: build_model(wider.model, (16, 16, 3), classes, own=wider.own.arch),
        )


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serves the weights of a tiny backbone; the folder of the cache, and the requests that came."""
    (tmp_path / "server").mkdir()
    weights = tmp_path / "server" / "tiny_notop.weights.h5"
    keras.utils.set_random_seed(3)
    source = tiny(input_shape=(32, 32, 3))
    source.save_weights(weights)
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=tmp_path / "server", **options)

        def log_message(self, form, *values):
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    # Where Keras keeps what KERAS_HOME says.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    record = Backbone(
        "mobilenetv3small",
        "Tiny",
        "udal_tf.models.applications:build",
        rgb=True,
        keras_name="Tiny",
        pixels="caffe",
        weights=f"http://127.0.0.1:{server.server_port}/{weights.name}",
        weights_md5=hashlib.md5(weights.read_bytes()).hexdigest(),
        image_side=32,
    )
    monkeypatch.setitem(BACKBONES._all(), "mobilenetv3small", record)
    yield record, tmp_path / "home" / "models", requests, source
    server.shutdown()
    server.server_close()


def test_published_weights_are_downloaded_once_and_their_address_and_hash_are_shown(published, tmp_path, capsys):
    record, cache, requests, source = published
    # Named by nobody: the network, the size of its images, and that it is frozen.
    data = {**DATA, "labeled": (np.repeat(np.repeat(X, 2, 1), 2, 2), Y)}
    data |= {"unlabeled": data["labeled"][0], "test": (data["labeled"][0], Y)}
    udal_tf.train(data, tmp_path / "run", **SHORT, pretrained="imagenet")
    text = capsys.readouterr().out
    assert f"Initial weights: {record.weights} (MD5 {record.weights_md5}), a new last layer" in text
    assert [path.name for path in cache.iterdir()] == ["tiny_notop.weights.h5"] and len(requests) == 1
    config = RunDir(tmp_path / "run").config()
    assert (config.model.arch, config.model.freeze, config.data.image_size) == ("mobilenetv3small", "backbone", 32)
    network = udal_tf.load(tmp_path / "run").network
    assert network.layers[1].name == "pixel_range"
    for theirs, ours in zip([v.numpy() for v in source.weights], backbone_of(network), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_other_weights_than_published_are_downloaded_again_and_refused(published):
    record, cache, requests, _ = published
    cache.mkdir()
    (cache / "tiny_notop.weights.h5").write_bytes(b"half a file")
    assert hashlib.md5(pretrained.published_file(record).read_bytes()).hexdigest() == record.weights_md5
    assert len(requests) == 1
    other = Backbone(**{**vars(record), "weights_md5": "0" * 32})
    with pytest.raises(ValueError, match=r"cannot be downloaded \(Incomplete or corrupted file detected"):
        pretrained.published_file(other)


def test_without_a_network_it_is_said_which_file_to_place_where(published, tmp_path):
    record = Backbone(**{**vars(published[0]), "weights": "http://127.0.0.1:9/tiny_notop.weights.h5"})
    with pytest.raises(ValueError) as error:
        pretrained.published_file(record)
    text = str(error.value)
    assert "\n" not in text and "Connection refused" in text
    for words in (record.weights, record.weights_md5, "$KERAS_HOME/models", "--pretrained=tiny_notop.weights.h5"):
        assert words in text


@pytest.mark.parametrize("arch", [name for name, record in BACKBONES.items() if record.keras_name])
def test_addresses_and_hashes_are_those_of_keras(arch):
    record, name = BACKBONES[arch], {"keras_resnet50": "resnet", "resnet50v2": "resnet"}.get(arch, MODULES[arch])
    module = importlib.import_module(f"keras.src.applications.{name}")
    source = inspect.getsource(module)
    assert record.weights.rpartition("/")[0] in source.replace('"\n    "', "")
    assert (record.weights_md5 in source) if record.weights_md5 else ("file_hash" not in source)
    default = inspect.signature(getattr(keras.applications, record.keras_name)).parameters["weights"].default
    assert default == "imagenet" and record.image_side >= 224


def test_the_pixels_of_an_earlier_run_are_those_of_the_next(tmp_path):
    config = resolve({"arch": "keras_resnet50", "workdir": str(tmp_path / "plain"), "dataset": "folder"})
    for pretrained_by, pixels in (("none", "plain"), ("imagenet", "published"), ("a.h5", "published")):
        model = {"arch": "keras_resnet50", "pretrained": pretrained_by}
        nested = {**config.to_dict(), "model": {**config.to_dict()["model"], **model}}
        storage.write_json(tmp_path / "config.json", nested)
        assert network_of(tmp_path) == {"arch": "keras_resnet50", "pixels": pixels}
    for text, words in (("[]", "is not the config of a run"), ("{", "is not valid JSON")):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "config.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            resolve({"pretrained": str(tmp_path / "other")})
    following = resolve({"pretrained": str(tmp_path)})
    assert (following.model.arch, following.model.published_pixels) == ("keras_resnet50", True)


def test_what_a_data_error_is_for_a_damaged_earlier_run(earlier, tmp_path):
    shutil.copytree(earlier, tmp_path / "damaged")
    (tmp_path / "damaged" / "checkpoints" / "ckpt-4.index").write_bytes(b"no index")
    with pytest.raises(DataError, match=r"ckpt-4 cannot be read"):
        udal_tf.train(DATA, tmp_path / "run", **SHORT, pretrained=str(tmp_path / "damaged"))
