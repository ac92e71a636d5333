"""Limit on the threads of one request.

A request's matrix product takes less time than threads need to synchronise, and many requests run at once. On a busy
machine one thread each is much faster, and its latency steadier.
"""

from threadpoolctl import threadpool_limits

from indexing.ann.runtime import tf


def limit_threads(count: int) -> None:
    """Limit BLAS and TensorFlow to `count` threads per call. Call it before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    threadpool_limits(count, "blas")
