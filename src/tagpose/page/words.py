"""This file puts into words what was found: a sentence, and a table with a row for each person."""

from html import escape

from tagpose.drawing.hues import identity_colour
from tagpose.evaluation.table import part_titles
from tagpose.inference.found import Found


def sentence(found: Found, people: int, min_person_score: float, seconds: float) -> str:
    """How many are shown, how many are not and why.

    Args:
        found: those above the person score.
        people: how many the decoder found.
        min_person_score: that they were held against.
        seconds: that the network took.
    """
    shown, took = len(found.scores), f"The network took {seconds:.2f} s."
    if not people:
        return f"Nobody is found in this picture; a lower peak score finds fainter people. {took}"
    if not shown:
        there = "1 person is" if people == 1 else f"{people} people are"
        return f"Nobody reaches a person score of {min_person_score:g}; {there} below it. {took}"
    if shown < people:
        return f"{shown} of {people} people, as others score below {min_person_score:g}. {took}"
    return f"{'1 person' if shown == 1 else f'{shown} people'}. {took}"


def table(found: Found) -> str:
    """HTML of a table: each person's number and scores, as a whole and by part."""
    if not len(found.scores):
        return ""
    parts = part_titles(found.part_scores)
    head = ["person", "score", "keypoints", *parts.values()]
    count = (found.keypoints[..., 2] > 0).sum(1).tolist()
    rows = []
    for p, score in enumerate(found.scores.tolist()):
        dot = f'<i style="background: rgb{identity_colour(p)}"></i>'
        scores = [score, *(found.part_scores[part][p] for part in parts)]
        first, *others = [f"{one:.2f}" for one in scores]
        cells = "".join(f"<td>{one}</td>" for one in (first, count[p], *others))
        rows.append(f'<tr><th scope="row">{dot}{p + 1}</th>{cells}</tr>')
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
