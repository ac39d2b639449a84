"""A result as SARIF 2.1.0: what has a place in a file is a result, the rest notifications of the run."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from .. import __version__
from ..types import Json, Result
from .faults import KINDS, Fault, faults

_LEVELS = {"error": "error", "warning": "warning", "notice": "note"}
_MOST = 5000  # results in one run that code scanning takes


def sarif(result: Result) -> str:
    """JSON in ASCII, ends with a newline."""
    every = list(faults(result))
    placed = [fault for fault in every if fault.path][:_MOST]
    others = [fault for fault in every if not fault.path][:_MOST]
    run: Json = {
        "tool": {"driver": {"name": "glm-agent", "version": __version__, "rules": _rules()}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not result.is_error,
                "exitCode": result.exit_code,
                "exitCodeDescription": result.subtype,
                "toolExecutionNotifications": [_notification(fault) for fault in others],
            }
        ],
        "results": [_result(fault) for fault in placed],
        "properties": {"baseCommit": result.base_commit, "sessionId": result.session_id},
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1) + "\n"


def _rules() -> list[Json]:
    """All that code scanning wants of a rule, which for ours is one sentence."""
    uses = ("shortDescription", "fullDescription", "help")
    return [{"id": kind, **{use: {"text": f"{text}."} for use in uses}} for kind, text in KINDS.items()]


def _notification(fault: Fault) -> Json:
    return {
        "descriptor": {"id": fault.kind},
        "level": _LEVELS[fault.level],
        "message": _message(fault),
    }


def _result(fault: Fault) -> Json:
    # a name that is no UTF-8 has its bytes escaped like any others
    uri = quote(fault.path.encode("utf-8", "surrogateescape"))
    location: Json = {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}}
    if fault.line:
        location["region"] = {"startLine": fault.line}
    return {
        "ruleId": fault.kind,
        "ruleIndex": list(KINDS).index(fault.kind),
        "level": _LEVELS[fault.level],
        "message": _message(fault),
        "locations": [{"physicalLocation": location}],
    }


def _message(fault: Fault) -> Json:
    """The text as it is: `{0}` would be filled in, and `[a](b)` made a link."""
    text = re.sub(r"\{(\d+)\}", r"{{\1}}", fault.text)
    return {"text": re.sub(r"\](?=\()", r"\\]", text).replace("[", "\\[") if "](" in text else text}
