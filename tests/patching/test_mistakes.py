"""Mistakes put into true diffs of real text: exactly right, or refused; the more of each, the better."""

from __future__ import annotations

from collections import Counter

import mistakes
import pytest

from glm_agent.patching import PatchRefused, apply_patch


def verdict(case: mistakes.Case) -> str:
    try:
        after = apply_patch(case.patch, {mistakes.NAME: case.before})
    except PatchRefused:
        return "refused"
    assert after == {mistakes.NAME: case.after}, (case.mistakes, case.patch)
    return "right"


def test_a_patch_with_mistakes_is_right_or_refused() -> None:
    verdicts = Counter(verdict(mistakes.make(seed)) for seed in range(500))
    assert verdicts["right"] > 380


@pytest.mark.parametrize("mistake", mistakes.HARMLESS, ids=lambda mistake: mistake.__name__)
def test_a_mistake_that_leaves_no_doubt_is_seldom_refused(mistake: mistakes.Mistake) -> None:
    cases = [case for seed in range(20) if (case := mistakes.make_with(seed, mistake)).mistakes]
    verdicts = Counter(map(verdict, cases))
    assert verdicts["right"] >= 0.9 * len(cases)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_few_of_many_patches_end_where_only_the_twin_of_a_block_that_changed_fits() -> None:
    wrong = 0
    for seed in range(10_000, 25_000):
        try:
            verdict(mistakes.make(seed))
        except AssertionError:
            wrong += 1
    assert wrong <= 3
