"""Each case of the corpus: exactly right, or refused and nothing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import corpus
import pytest

CASES = list(corpus.cases())


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    verdict, refusal = corpus.judge(case, tmp_path)
    allowed = {"must": {"right"}, "may": {"right", "refused"}, "refuse": {"refused"}}
    assert verdict in allowed[case["tier"]], refusal
