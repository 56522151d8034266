"""Packaging of udal_tf. TensorFlow is an extra: a CPU, a GPU and a TPU each need another distribution of it."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "udal_tf" / "__init__.py").read_text(encoding="utf-8"))[1]

# udal-export --format=onnx: two packages that write the file, and one that runs it.
ONNX = ["onnx", "onnxruntime", "tf2onnx>=1.17"]

setup(
    name="udal-tf",
    version=VERSION,
    description="UDAL and its comparisons: imbalanced semi-supervised learning with TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["udal_tf", "udal_tf.*"]),
    package_data={"udal_tf.data": ["*.tsv", "*.npz", "*.json"], "udal_tf.reporting": ["templates/*"]},
    python_requires=">=3.10",
    install_requires=[
        "absl-py",
        "cleanlab>=2.9",
        "etils[epath]",
        "importlib_resources",
        "jinja2",
        "matplotlib",
        "numpy",
        "pandas",
        "pillow>=10.1",
        "rich",
        "scikit-learn",
        "scipy",
        "tabulate",
        "tensorboard",
        "tensorflow-datasets",
    ],
    extras_require={
        "cpu": ["tensorflow>=2.18,<2.22"],
        "gpu": ["tensorflow[and-cuda]>=2.18,<2.22"],
        # A later libtpu aborts the process when TensorFlow is imported, and an earlier tensorflow-tpu needs one that
        # is not published any more.
        "tpu": ["tensorflow-tpu>=2.20,<2.21", "libtpu>=0.0.14,<0.0.31"],
        # TensorFlow 2.18 and 2.19, beside "cpu" or "gpu". They need protobuf 5, and tensorflow-metadata, by which
        # tensorflow-datasets reads its folders, needs protobuf 6 from 1.18 on without saying so.
        "tf219": ["tensorflow<2.20", "tensorflow-metadata<1.18"],
        "onnx": ONNX,
        # Images of iPhones, .heic.
        "heic": ["pillow-heif"],
        "test": [
            "fonttools",
            "mypy==2.4.1",
            "pandas-stubs",
            "pytest",
            "pytest-xdist",
            "ruff==0.17.6",
            "scikit-image",
            *ONNX,
        ],
        # Sweeps on a cluster: --engine=ray.
        "sweep": ["ray>=2.9"],
        # For `make docs`, which also runs the notebook. Later major versions may warn of more, and warnings are errors.
        "docs": ["furo", "ipykernel", "myst-nb>=1.2,<2", "sphinx>=8,<10", "sphinx-autoapi>=3.4,<4"],
        # For benchmarks/crest_vectors.py and CReST itself; in an environment of its own, instead of "cpu".
        "parity": [
            "tensorflow-cpu==2.15.1; python_version < '3.12'",
            "tensorflow-addons==0.23.0; python_version < '3.12'",
            "tensorflow-probability==0.23.0",
            "immutabledict",
            "numpy<2",
        ],
    },
    entry_points={
        "console_scripts": [
            "udal=udal_tf.commands.udal:main",
            "udal-train=udal_tf.commands.train:main",
            "udal-inspect=udal_tf.commands.inspect:main",
            "udal-predict=udal_tf.commands.predict:main",
            "udal-evaluate=udal_tf.commands.evaluate:main",
            "udal-suggest=udal_tf.commands.suggest:main",
            "udal-export=udal_tf.commands.export:main",
            "udal-sweep=udal_tf.commands.sweep:main",
            "udal-report=udal_tf.commands.report:main",
        ]
    },
)
