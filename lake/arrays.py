"""Types of NumPy arrays, and the number that pads arrays of titles."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]  # ids, or rows of titles and users
Flags = NDArray[np.bool_]

NO_TITLE = -1  # pads arrays of title ids, and of titles' rows; 0 may be a title
