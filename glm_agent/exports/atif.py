"""A session in the Agent Trajectory Interchange Format, version 1.8, for benchmarks and training.

A turn of the model and what its calls gave are one step; fields of our own stand in `extra` alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

from .. import usage
from ..errors import UsageError
from ..journal import Session
from ..render.jsonl import encode
from ..render.words import arguments
from ..shape import mapping
from ..types import Assistant, Json, ToolCall, ToolResult
from .steps import Step, outcome, steps

VERSION = "ATIF-v1.8"


def write(session: Session) -> str:
    """Raises UsageError if nothing was said: a trajectory has at least one step."""
    found = [_step(number, step) for number, step in enumerate(steps(session.messages), 1)]
    if not found:
        raise UsageError(f"session {session.id} holds no messages, and ATIF needs one; take another format")
    if (at := session.started.get("at")) and isinstance(at, int | float):
        found[0]["timestamp"] = datetime.fromtimestamp(at, UTC).isoformat()
    document: Json = {
        "schema_version": VERSION,
        "session_id": session.id,
        "agent": _agent(session.started),
        "steps": found,
        "final_metrics": _total(session, found),
        "extra": {"outcome": outcome(session), "result": session.result},
    }
    return encode(document, indent=2) + "\n"


def _agent(started: Json) -> Json:
    names = ("command", "provider", "base_url_host", "tools", "sandbox", "git", "caps", "instructions")
    agent = {
        "name": "glm-agent",
        "version": str(started.get("version") or "unknown"),
        "extra": {name: started[name] for name in names if name in started},
    }
    return {**agent, "model_name": str(started["model"])} if started.get("model") else agent


def _step(number: int, step: Step) -> Json:
    said = step.said
    if not isinstance(said, Assistant):
        return {"step_id": number, "source": "user", "message": said.text}
    found: Json = {
        "step_id": number,
        "source": "agent",
        "message": said.text,
        "reasoning_content": said.thought,
        "llm_call_count": 1,
        "metrics": _metrics(said.usage),
        "extra": {"finish_reason": said.finish} if said.finish else None,
    }
    if step.done:
        found["tool_calls"] = [_call(done.call) for done in step.done]
        results = [_result(done.result) for done in step.done if done.result is not None]
        found["observation"] = {"results": results} if results else None
    return {name: value for name, value in found.items() if value is not None}


def _call(call: ToolCall) -> Json:
    found: Json = {"tool_call_id": call.id, "function_name": call.name, "arguments": arguments(call)}
    if not found["arguments"] and call.arguments.strip() not in ("", "{}"):
        found["extra"] = {"raw_arguments": call.arguments}
    return found


def _result(result: ToolResult) -> Json:
    found: Json = {"source_call_id": result.call_id, "content": result.content + result.note}
    return found if result.ok else {**found, "extra": {"is_error": True}}


def _metrics(raw: Json) -> Json | None:
    if not raw:
        return None
    counts = usage.normalise(raw)
    return {
        "prompt_tokens": counts["input_tokens"] + counts["cache_read_input_tokens"],
        "completion_tokens": counts["output_tokens"],
        "cached_tokens": counts["cache_read_input_tokens"],
        "extra": {name: counts[name] for name in ("reasoning_tokens", "estimated")},
    }


def _total(session: Session, found: list[Json]) -> Json:
    """Sums over the steps; the cost is that of the whole run, with turns that were discarded."""
    metrics = [mapping(step.get("metrics")) for step in found]
    total: Json = {
        f"total_{name}": sum(one.get(name, 0) for one in metrics)
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
    }
    total["total_steps"] = len(found)
    cost = mapping(session.result).get("total_cost_usd")
    return {**total, "total_cost_usd": cost} if isinstance(cost, int | float) else total
