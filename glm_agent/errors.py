"""Two families of errors.

ToolError        for the model: becomes the text of a tool result, the run goes on
  DeniedError        what the user did not allow, counted in the result
AgentError       for the person: one line on stderr and the exit code of its `subtype` (outcome.py)
  UsageError         error_usage        what was asked makes no sense
  AuthError          error_auth         key missing, wrong, without balance, or of the wrong product
  RepositoryError    error_repository   repository or file system state refused
  ConfigError        error_config       a configuration file is invalid
  SandboxError       error_sandbox      the sandbox asked for cannot be had here
  BudgetError        error_max_budget   a cap on money, tokens, time or calls
    CapReached         the next request would pass it, so it is not sent
  ProviderError      error_provider     provider trouble that may pass

Cancelled        neither: what a signal handler raises in the main thread. A KeyboardInterrupt, so that no
                 `except Exception`, ours or a library's, can swallow it; carries the signal's number
"""

from __future__ import annotations

from collections.abc import Mapping

from .types import Cap


class ToolError(Exception):
    """For the model: says what went wrong and what to do next. `details` are for people."""

    details: Mapping[str, object] = {}


class DeniedError(ToolError):
    """Refused for lack of permission: `path` is what for, `reason` why."""

    def __init__(self, text: str, path: str, reason: str) -> None:
        super().__init__(text)
        self.details = {"denied": [{"path": path, "reason": reason}]}


class AgentError(Exception):
    """For the person: one line that says what to do next."""

    subtype = "error_during_execution"


class UsageError(AgentError):
    subtype = "error_usage"


class AuthError(AgentError):
    subtype = "error_auth"


class RepositoryError(AgentError):
    subtype = "error_repository"


class ConfigError(AgentError):
    subtype = "error_config"


class SandboxError(AgentError):
    subtype = "error_sandbox"


class BudgetError(AgentError):
    subtype = "error_max_budget"


class CapReached(BudgetError):
    """Nothing went wrong: the run may go no further. `cap` is the name of the option that says so."""

    def __init__(self, cap: Cap, text: str) -> None:
        super().__init__(text)
        self.cap: Cap = cap


class ProviderError(AgentError):
    subtype = "error_provider"


class Cancelled(KeyboardInterrupt):
    """Raised in the main thread by a signal handler, wherever it happens to be."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"cancelled by signal {signum}")
        self.signum = signum
