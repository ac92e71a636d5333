"""How many threads one request may take.

A request's product is over in less time than threads need to meet, and many requests are answered at once: on a busy
machine one thread each is faster by far, and steadier.
"""

from threadpoolctl import threadpool_limits

from indexing.ann.runtime import tf


def limit_threads(count: int) -> None:
    """Hold this process to `count` threads per product and per call of TensorFlow; before anything is computed."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    threadpool_limits(count, "blas")
