"""Vectors of length one."""

import numpy as np


def unit_rows(vectors: np.ndarray) -> np.ndarray:  # [rows, dim], float32
    """`vectors` [rows, dim], each divided by its Euclidean length; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0).astype(np.float32)
