"""A result as JUnit XML: a test case for each check by name, and one for the run itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from ..types import Result
from . import words
from .faults import names
from .sanitize import clean, clean_line

_FAILING = ("newly_broken", "still_failing", "timed_out")
_UNSURE = ("flaky", "not_run")
_OURS = {
    "error_verify",
    "error_no_changes",
    "error_policy",
    "error_schema",
}  # the run worked, its result does not
_NO_XML = re.compile("[\ufffe\uffff]")


def junit(result: Result) -> str:
    """One `testsuite` in ASCII; `fixed` passes, what fails is a failure, what is not sure is skipped."""
    cases = [*_checks(result), _run(result)]
    counts = (
        ("tests", len(cases)),
        ("failures", sum("<failure" in case for case in cases)),
        ("errors", sum("<error" in case for case in cases)),
        ("skipped", sum("<skipped" in case for case in cases)),
    )
    numbers = " ".join(f'{name}="{number}"' for name, number in counts)
    took = f'time="{result.duration_ms / 1000:.3f}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {numbers} {took}>",
        f'<testsuite name="glm-agent" {numbers} {took}>',
        *cases,
        "</testsuite>",
        "</testsuites>",
    ]
    text = "\n".join(lines) + "\n"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _checks(result: Result) -> Iterator[str]:
    seen: set[str] = set()  # readers take a second case of a name for a repetition
    for kind in (*_FAILING, *_UNSURE, "fixed"):
        for name in names(result, kind):
            if name not in seen:
                seen.add(name)
                yield _case("glm-agent.verify", name, _verdict(kind, words.became(result, kind, name)))


def _verdict(kind: str, said: str) -> str:
    if kind in _FAILING:
        return f'<failure message="{said}" type="{kind}"/>'
    return f'<skipped message="{said}"/>' if kind in _UNSURE else ""


def _run(result: Result) -> str:
    verdict = ""
    if result.is_error:
        element = "failure" if result.subtype in _OURS else "error"
        message = result.errors[0] if result.errors else result.subtype
        said = f'message="{_attribute(message)}" type="{_attribute(result.subtype)}"'
        detail = _text("\n".join(result.errors))
        verdict = f"<{element} {said}>{detail}</{element}>"
    return _case("glm-agent", "run", f"{verdict}<system-out>{_text(words.summary(result))}</system-out>")


def _case(group: str, name: str, content: str) -> str:
    return f'<testcase classname="{group}" name="{_attribute(name)}">{content}</testcase>'


def _attribute(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", clean_line(text)))


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", clean(text)))
