"""Times a FixMatch step of the same Wide ResNet in PyTorch; `benchmarks/speed.py` starts this file by --torch_python.

A step is one forward pass of labeled, weak and strong views together, both cross-entropies, the backward pass and SGD
with Nesterov momentum and weight decay, in the channels_last memory format and not compiled. It does less than ours: no
moving averages of weights and predictions, and no metrics.
"""

import argparse

import timed_process
import torch
from torch import nn
from torch.nn import functional

LEAKY_RELU_SLOPE = 0.1
GROUP_FILTERS = (16, 32, 64)
# What PyTorch calls momentum is one minus the decay that TensorFlow calls so.
BATCH_NORM = {"eps": 1e-3, "momentum": 1 - 0.999}
OPTIMIZER = {"lr": 0.03, "momentum": 0.9, "nesterov": True}
WEIGHT_DECAY = 5e-4
THRESHOLD = 0.95
SIDE, CHANNELS, CLASSES = 32, 3, 10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--ratio", type=int, required=True, help="Unlabeled images per labeled one.")
    parser.add_argument("--depth", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    trainer = Trainer(wide_resnet(args.depth, args.width), args.batch_size, args.ratio)
    timed_process.serve({"step": trainer.step}, {"torch": torch.__version__})


class Block(nn.Module):
    """A pre-activation block as in `udal_tf.models.wide_resnet`.

    The first block of a group takes its shortcut from the activated input, by a 1 × 1 convolution where the filters
    differ.
    """

    def __init__(self, filters_in: int, filters: int, stride: int, first: bool):
        super().__init__()
        self.first = first
        self.preactivation, self.activation = activated(filters_in), activated(filters)
        self.conv_1, self.conv_2 = conv(filters_in, filters, 3, stride), conv(filters, filters, 3, 1)
        self.shortcut = nn.Identity() if filters_in == filters else conv(filters_in, filters, 1, stride)

    def forward(self, x):
        preactivated = self.preactivation(x)
        shortcut = self.shortcut(preactivated if self.first else x)
        return shortcut + self.conv_2(self.activation(self.conv_1(preactivated)))


def activated(filters: int) -> nn.Module:
    """Batch norm, then LeakyReLU."""
    return nn.Sequential(nn.BatchNorm2d(filters, **BATCH_NORM), nn.LeakyReLU(LEAKY_RELU_SLOPE, inplace=True))


def conv(filters_in: int, filters: int, kernel_size: int, stride: int) -> nn.Module:
    """A convolution without bias, padded by kernel_size // 2 on every side."""
    layer = nn.Conv2d(filters_in, filters, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


def wide_resnet(depth: int, width: int) -> nn.Module:
    """[B, 3, 32, 32] in [−1, 1] -> logits [B, 10]; depth is 6n + 4, n blocks a group."""
    blocks = (depth - 4) // 6
    layers: list[nn.Module] = [conv(CHANNELS, GROUP_FILTERS[0], 3, 1)]
    filters_in = GROUP_FILTERS[0]
    for group, base_filters in enumerate(GROUP_FILTERS):
        filters = base_filters * width
        for block in range(blocks):
            layers.append(Block(filters_in, filters, 2 if group > 0 and block == 0 else 1, first=block == 0))
            filters_in = filters
    layers += [activated(filters_in), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters_in, CLASSES)]
    return nn.Sequential(*layers)


class Trainer:
    """A network, its optimizer and one batch of random images: B labeled ones, B · ratio weak and as many strong."""

    def __init__(self, model: nn.Module, batch_size: int, ratio: int):
        self._model = model.to(memory_format=torch.channels_last).train()
        norms = [p for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
        of_norms = {id(p) for p in norms}
        others = [p for p in model.parameters() if id(p) not in of_norms]
        groups = [{"params": norms}, {"params": others, "weight_decay": WEIGHT_DECAY}]
        self._optimizer = torch.optim.SGD(groups, **OPTIMIZER)
        self._sizes = [batch_size, batch_size * ratio, batch_size * ratio]
        images = torch.rand(sum(self._sizes), CHANNELS, SIDE, SIDE) * 2 - 1
        self._images = images.to(memory_format=torch.channels_last)
        self._labels = torch.randint(CLASSES, (batch_size,))

    def step(self, warmup: int, count: int) -> float:
        """Seconds for `count` steps on the same batch, after `warmup` more."""
        return timed_process.timed(self._steps, warmup, count)

    def _steps(self, count: int) -> None:
        for _ in range(count):
            logits_l, logits_w, logits_s = self._model(self._images).split(self._sizes)
            confidence, targets = logits_w.detach().softmax(dim=1).max(dim=1)
            mask = (confidence >= THRESHOLD).float()
            loss_l = functional.cross_entropy(logits_l, self._labels)
            loss_u = (mask * functional.cross_entropy(logits_s, targets, reduction="none")).mean()
            self._optimizer.zero_grad(set_to_none=True)
            (loss_l + loss_u).backward()
            self._optimizer.step()


if __name__ == "__main__":
    main()
