"""benchmarks/step_hlo.py: XLA's program of a step with what goes in and what comes out."""

import pathlib
import sys

import numpy as np

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


def test_the_file_has_the_program_its_inputs_and_the_variables_that_the_step_moves(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import step_hlo

    flags = ["--base=supervised", "--method=la", "--batch_size=4", "--depth=10", "--width=1", "--side=8"]
    step_hlo.main([str(tmp_path / "step.npz"), *flags, "--precision=bfloat16"])
    with np.load(tmp_path / "step.npz") as file:
        found = {name: file[name] for name in file.files}
    assert b"convolution" in found["hlo"].tobytes() and int(found["images"]) == 4
    # Labels, positions, random numbers and images come first.
    assert found["in_0"].shape == (4, 8, 8, 3) and found["in_0"].dtype == np.uint8
    inputs = [name for name in found if name.startswith("in_")]
    assert len(inputs) > 60 and np.isfinite(found["out_0"]).all()
    moved = 0
    for result, of_input in found["alias"]:
        before, after = found[f"in_{of_input}"], found[f"out_{result}"]
        assert before.shape == after.shape and before.dtype == after.dtype
        moved += (before != after).any()
    # Everything the optimizer, batch norm, the EMA and the counters change, but q̂, as nothing is unlabeled here.
    assert moved == len(found["alias"])
