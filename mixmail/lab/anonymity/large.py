"""Networks so large that no two ways to a message meet: every way comes from another query of another user.

What a mix holds does not depend on how many mixes there are: each gets the packets of 3/T users' worth.  So
the ways back from a message look alike in all large networks, and their entropy is the most that a message
can have, however many users there are.  Calculated from the rows of a simulated network of ordinary size:
with weights w of the three steps, the entropy over ways is log Z - E[log w1 w2 w3].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .figures import Study
from .flow import OUT

Floats = NDArray[np.float64]


def ways(study: Study) -> tuple[Floats, Floats]:
    """(bits over ways, likeliest way) for each query that left its third mix in the window."""
    rows, packets = study.rows, len(study.trace.kind)
    ones = np.ones(packets)
    total, logs, most = _step(rows.entered[:, :packets].tocsr(), ones, np.zeros(packets), ones)
    for _ in OUT[1:]:
        total, logs, most = _step(rows.relayed, total, logs, most)
    leaving = study.leaving()
    total, logs, most = total[leaving], logs[leaving], most[leaving]
    bits = np.log2(total) - logs / total
    return bits, most / total


def _step(
    weights: sparse.csr_array, total: Floats, logs: Floats, most: Floats
) -> tuple[Floats, Floats, Floats]:
    """One mix further from the entry: sums of weights, of weights x log2, and the largest weight."""
    data = weights.data.astype(np.float64)
    with_logs = weights.copy()
    with_logs.data = data * np.log2(np.maximum(data, 1e-300))
    largest = weights.copy()
    largest.data = data * most[weights.indices]
    return (
        np.asarray(weights @ total),
        np.asarray(with_logs @ total + weights @ logs),
        np.asarray(largest.max(axis=1).todense()).ravel(),
    )
