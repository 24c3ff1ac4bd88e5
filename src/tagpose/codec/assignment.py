"""Optimal assignment of rows to columns by shortest augmenting paths.

The algorithm is that of D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE
Transactions on Aerospace and Electronic Systems 52(4), 2016. Ties are broken as in
`scipy.optimize.linear_sum_assignment`, because MMPose's results depend on it. For the small
matrices of grouping, a call of scipy takes five times as long and holds the GIL.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import ZERO, Int, compilable


class AssignmentBuffers(NamedTuple):
    """State of `assign_rows`, with room for the largest matrix."""

    row_duals: np.ndarray  # [R] float64
    column_duals: np.ndarray  # [C] float64
    path_costs: np.ndarray  # [C] float64: cost of the shortest path to each column
    path_rows: np.ndarray  # [C] int64: last row on the shortest path to each column
    unvisited: np.ndarray  # [C] int64: columns in the order of the search
    visited: np.ndarray  # [C] int64: columns in the order of their visits
    row_columns: np.ndarray  # [R] int64: column of each row
    column_rows: np.ndarray  # [C] int64: row of each column, -1 for none


def make_assignment_buffers(rows: int, columns: int) -> AssignmentBuffers:
    """Allocate buffers for matrices of up to this size."""
    path_rows, unvisited, visited, column_rows = np.empty((4, columns), np.int64)
    return AssignmentBuffers(
        row_duals=np.empty(rows),
        column_duals=np.empty(columns),
        path_costs=np.empty(columns),
        path_rows=path_rows,
        unvisited=unvisited,
        visited=visited,
        row_columns=np.empty(rows, np.int64),
        column_rows=column_rows,
    )


@compilable
def assign_rows(costs: np.ndarray, rows: Int, columns: Int, buffers: AssignmentBuffers) -> None:
    """Assign rows to distinct columns at the lowest total cost, in `buffers.row_columns`.

    Args:
        costs: [rows * columns] float64, row-major. If costs are NaN or infinite, the columns are
            still distinct, but the assignment may not be optimal.
        rows: number of rows.
        columns: number of columns, at least `rows`.
        buffers: buffers of at least this size.
    """
    buffers.row_duals[:rows] = 0
    buffers.column_duals[:columns] = 0
    buffers.column_rows[:columns] = -1
    for row in range(rows):
        num_visited = _find_shortest_path(costs, columns, row, buffers)
        end = buffers.visited[num_visited]
        path_cost = buffers.path_costs[end]
        buffers.row_duals[row] += path_cost
        for step in range(num_visited):
            column = buffers.visited[step]
            slack = path_cost - buffers.path_costs[column]
            buffers.row_duals[buffers.column_rows[column]] += slack
            buffers.column_duals[column] -= slack
        _augment(row, end, buffers)


@compilable
def _find_shortest_path(
    costs: np.ndarray, columns: Int, row: Int, buffers: AssignmentBuffers
) -> Int:
    """Find the shortest path from a row to a free column.

    Returns:
        Number of columns that were visited before the free column; `buffers.visited` contains them
        and then the free column.
    """
    row_costs, path_costs = costs[row * columns : (row + 1) * columns], buffers.path_costs
    row_dual, column_duals = buffers.row_duals[row], buffers.column_duals
    lowest = np.inf
    for column in range(np.uint64(columns)):  # unsigned, so that the compiler vectorizes it
        path_costs[column] = row_costs[column] - row_dual - column_duals[column]
        lowest = min(lowest, path_costs[column])
    # as in scipy, ties go to the first free column, or to the last column if none is free
    nearest = columns - 1
    for column in range(columns):
        if path_costs[column] == lowest:
            nearest = column
            if buffers.column_rows[column] < 0:
                break
    if buffers.column_rows[nearest] < 0:
        buffers.path_rows[nearest] = row
        buffers.visited[0] = nearest
        return ZERO
    return _continue_search(costs, columns, row, nearest, buffers)


@compilable
def _continue_search(
    costs: np.ndarray, columns: Int, start: Int, nearest: Int, buffers: AssignmentBuffers
) -> Int:
    """Continue the search of `_find_shortest_path` from the nearest column, which has a row."""
    unvisited, path_costs, path_rows = buffers.unvisited, buffers.path_costs, buffers.path_rows
    column_rows, column_duals = buffers.column_rows, buffers.column_duals
    for column in range(columns):
        unvisited[column] = columns - 1 - column
        path_rows[column] = start
    position, num_visited = columns - 1 - nearest, ZERO
    while True:
        column = unvisited[position]
        buffers.visited[num_visited] = column
        if column_rows[column] < 0:
            return num_visited
        unvisited[position] = unvisited[columns - num_visited - 1]
        num_visited += 1
        row, cost = column_rows[column], path_costs[column]
        row_costs, row_dual = costs[row * columns : (row + 1) * columns], buffers.row_duals[row]
        position, lowest = ZERO, np.inf
        for place in range(np.uint64(columns - num_visited)):
            other = np.uint64(unvisited[place])
            # in scipy's order of operations, because rounding decides between equal costs
            through = cost + row_costs[other] - row_dual - column_duals[other]
            if through < path_costs[other]:
                path_costs[other], path_rows[other] = through, row
            length = path_costs[other]
            if length < lowest or (length == lowest and column_rows[other] < 0):
                position, lowest = np.int64(place), length


@compilable
def _augment(row: Int, end: Int, buffers: AssignmentBuffers) -> None:
    """Assign the columns along the shortest path from a row to a free column."""
    column: Int = end
    owner: Int = np.int64(-1)
    while owner != row:
        owner = buffers.path_rows[column]
        buffers.column_rows[column] = owner
        previous = buffers.row_columns[owner]
        buffers.row_columns[owner] = column
        column = previous
