"""Optimal assignment: parity with scipy, including ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tagpose.codec.assignment import assign_rows, make_assignment_buffers
from tagpose.codec.compilation import compiled

assign_compiled = compiled(assign_rows)


def assign(costs, spare=0):
    """Return the column of each row, with buffers that have spare room."""
    rows, columns = (np.int64(length) for length in costs.shape)
    buffers = make_assignment_buffers(rows + spare, columns + spare)
    assign_compiled(np.ascontiguousarray(costs).ravel(), rows, columns, buffers)
    return buffers.row_columns[:rows].tolist()


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 12),
    more=st.integers(0, 12),
    distances=st.sampled_from([1, 2, 4, 1000]),
    kind=st.sampled_from(["grouping", "equal rows", "continuous", "unmatched", "infinite"]),
)
def test_the_assignment_equals_scipys_with_any_number_of_ties(seed, rows, more, distances, kind):
    random = np.random.default_rng(seed)
    costs = 100.0 * random.integers(0, distances, (rows, rows + more))
    if kind == "equal rows":
        costs[:] = costs[0]
    elif kind == "continuous":
        costs = random.normal(size=costs.shape)
    else:
        costs -= np.sort(random.random((rows, 1)).astype(np.float32), axis=0)[::-1]
    if kind == "unmatched":
        costs[:, random.integers(rows + more) :] = 1e10
    elif kind == "infinite":  # not on the diagonal, so that there is a solution
        costs[(random.random(costs.shape) < 0.5) & ~np.eye(*costs.shape, dtype=bool)] = np.inf
    assert assign(costs, spare=seed % 3) == linear_sum_assignment(costs)[1].tolist()


@pytest.mark.parametrize("cost", [0.0, -1.0, 1e10])
def test_ties_between_equal_columns_are_broken_as_in_scipy(cost):
    costs = np.full((7, 20), cost)
    assert assign(costs) == linear_sum_assignment(costs)[1].tolist()


def test_a_search_that_crosses_all_rows_ends():
    """Every row prefers the columns of all earlier ones, so each search visits them all."""
    rows = np.arange(200.0)
    costs = -np.minimum.outer(rows, rows)
    assert assign(costs) == linear_sum_assignment(costs)[1].tolist()


@given(seed=st.integers(0, 2**31), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_rows_get_different_columns_even_if_costs_are_not_finite(seed, value):
    random = np.random.default_rng(seed)
    costs = random.integers(0, 3, (8, random.integers(8, 12))).astype(float)
    costs[random.random(costs.shape) < random.random()] = value
    with np.errstate(invalid="ignore"):  # numpy warns if numba is disabled
        columns = assign(costs)
    assert len(set(columns)) == 8
    assert set(columns) <= set(range(costs.shape[1]))
