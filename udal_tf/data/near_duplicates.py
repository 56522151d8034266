"""Images that look alike without being equal: a copy saved again, resized, or with other colors.

A perceptual hash finds candidates: 63 bits, the signs about their median of the lowest frequencies of the cosine
transform of the gray image (as described by Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash
Functions"). Two images are near duplicates if their hashes differ in at most MOST_BITS and their gray thumbnails
correlate with at least CORRELATION. The second condition is for small or simple images, such as digits, many of which
share a hash. Mirrored images are not found, and cropped ones only by chance.

Chosen on public datasets: among 1,000,000 pairs of images of CIFAR-10 and as many of faces none were found, among as
many of cats and dogs one, a true copy; among 8×8 digits 23. Of 400 copies of each kind of photograph, saved as JPEG of
quality 20, at half the size, with 1.2 times the brightness or 0.7 times the contrast, at least 96 % were found; of
those cropped by 3 % at two sides, 5 to 80 %. Between the 50,000 training and 10,000 test images of CIFAR-10 there are
63 pairs; 40 of them, chosen at random, were looked at, and all were copies.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import fft

MOST_BITS = 6
CORRELATION = 0.97
# Standard deviation of the thumbnail's gray levels below which images are not compared: flat ones all look alike.
FLAT = 4.0
# Sides of the image that is hashed, of the block of lowest frequencies, and of the thumbnail.
_SIDE = 32
_LOWEST = 8
_THUMBNAIL = 16
# Without the mean, which is the brightness.
BITS = _LOWEST**2 - 1
# Of a description.
LENGTH = BITS + _THUMBNAIL**2
# Queries and references compared at a time.
_QUERIES = 512
_REFERENCES = 8192


def describe(pixels: np.ndarray) -> np.ndarray:
    """What `Described` compares: [319] uint8, the 63 bits and the 16 × 16 thumbnail.

    pixels: [H, W, 3] uint8, or [H, W, 1] of a gray image; of other channels, their mean.
    """
    if pixels.shape[2] != 3:
        pixels = pixels.mean(axis=2).round().astype(np.uint8)
    gray = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    lowest = fft.dctn(np.asarray(gray, np.float32), norm="ortho")[:_LOWEST, :_LOWEST].ravel()[1:]
    thumbnail = np.asarray(gray.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), np.uint8)
    return np.concatenate([(lowest > np.median(lowest)).astype(np.uint8), thumbnail.ravel()])


class Described:
    """A set of images by what `describe` gives, ready to be compared with others."""

    def __init__(self, descriptions: Sequence[np.ndarray], excluded: np.ndarray):
        """descriptions: of N images. excluded: [N, k] int; images equal in a column are no near duplicates."""
        stacked = np.stack(descriptions) if len(descriptions) else np.zeros((0, LENGTH), np.uint8)
        # With ±1 for bits, a product counts them: BITS − 2 · (bits that differ).
        self.signs = stacked[:, :BITS].astype(np.float32) * 2 - 1
        self.thumbnails = stacked[:, BITS:]
        self.flat = self.thumbnails.std(axis=1) < FLAT
        self.excluded = excluded

    def __len__(self) -> int:
        return len(self.signs)

    def normalized(self, positions: np.ndarray) -> np.ndarray:
        """Thumbnails of mean 0 and norm 1, so that products are correlations."""
        centered = self.thumbnails[positions].astype(np.float32)
        centered -= centered.mean(axis=1, keepdims=True)
        return centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-6)


def nearest(queries: Described, references: Described) -> np.ndarray:
    """[len(queries)] int64: the reference that is nearest to each query, −1 if none is a near duplicate.

    Compares blocks, so that memory does not grow with the number of pairs. 4 · 10⁹ pairs took 21 s of a processor.
    """
    best = np.full(len(queries), -1, np.int64)
    best_correlation = np.full(len(queries), CORRELATION, np.float32)
    for start in range(0, len(queries), _QUERIES):
        signs = queries.signs[start : start + _QUERIES]
        for other in range(0, len(references), _REFERENCES):
            alike = signs @ references.signs[other : other + _REFERENCES].T >= BITS - 2 * MOST_BITS
            if not alike.any():
                continue
            rows, columns = np.flatnonzero(alike.any(axis=1)), np.flatnonzero(alike.any(axis=0))
            alike = alike[np.ix_(rows, columns)]
            rows, columns = rows + start, columns + other
            alike &= ~(queries.flat[rows, None] | references.flat[None, columns])
            for ours, theirs in zip(queries.excluded[rows].T, references.excluded[columns].T, strict=True):
                alike &= ours[:, None] != theirs[None]
            correlation = np.where(alike, queries.normalized(rows) @ references.normalized(columns).T, -1.0)
            nearest_column = correlation.argmax(axis=1)
            highest = correlation[np.arange(len(rows)), nearest_column]
            better = highest > best_correlation[rows]
            best[rows[better]] = columns[nearest_column[better]]
            best_correlation[rows[better]] = highest[better]
    return best


def distinct(descriptions: np.ndarray) -> np.ndarray:
    """Positions of images no two of which are near duplicates or equal, the first of those that look alike.

    descriptions: [N, 319] uint8, as `describe` gives them.
    """
    # Copies, of which there may be very many, without comparing pairs; flat ones too.
    kept = np.sort(np.unique(descriptions, axis=0, return_index=True)[1])
    while True:
        found = Described(list(descriptions[kept]), np.arange(len(kept))[:, None])
        again = nearest(found, found)
        # Of the two that are most alike the later one is left out, so the loop ends.
        later = (again >= 0) & (again < np.arange(len(kept)))
        if not later.any():
            return kept
        kept = kept[~later]
