"""What git is told, so that nothing the repository or the environment configures chooses a program to run.

It follows a measurement of 41 traps (hooks, fsmonitor, filters, pagers, drivers …); pure.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

# What git may be asked. It has no word for the network, and none that an alias could stand for.
VERBS = {
    *("add", "apply", "cat-file", "check-attr", "check-ignore", "checkout-index", "commit", "commit-tree"),
    *(
        "config",
        "diff-tree",
        "for-each-ref",
        "grep",
        "hash-object",
        "init",
        "ls-files",
        "ls-tree",
        "merge-base",
    ),
    *("read-tree", "rev-list", "rev-parse", "status", "symbolic-ref", "update-index", "version"),
    *("write-tree",),
}

# What besides moves a reference: for a commit that the user asked for, and for nothing else.
REFERENCES = {"check-ref-format", "update-ref"}

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS": "false",
    "GIT_ALLOW_PROTOCOL": "",  # no protocol at all
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}

OVERRIDES = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.pager=cat",
    "core.editor=false",
    "core.askPass=",
    "core.sshCommand=false",
    "core.gitProxy=",
    "core.alternateRefsCommand=true",
    f"core.attributesFile={os.devnull}",
    "core.quotePath=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "credential.helper=",
    "diff.external=",
    "diff.ignoreSubmodules=all",
    "interactive.diffFilter=cat",
    "gpg.program=false",
    "gpg.openpgp.program=false",
    "gpg.x509.program=false",
    "gpg.ssh.program=false",
    "gpg.ssh.defaultKeyCommand=",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "merge.verifySignatures=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "gc.recentObjectsHook=",
    "maintenance.auto=false",
    "status.submoduleSummary=false",
    "attr.tree=",
    "safe.bareRepository=explicit",
    "uploadpack.packObjectsHook=",
    "commit.template=",
    "blame.ignoreRevsFile=",
    "init.templateDir=",
    "color.ui=false",
)

# Programs that a section with a name of its own may choose, and what makes it choose none.
_DRIVERS: dict[tuple[str, str], str] = {
    **{("filter", key): "" for key in ("clean", "smudge", "process")},
    ("filter", "required"): "false",
    **{("diff", key): "" for key in ("textconv", "command")},
    ("merge", "driver"): "false",
    **{("trailer", key): "true" for key in ("cmd", "command")},
    ("submodule", "update"): "none",
    **{("remote", key): "false" for key in ("uploadpack", "receivepack")},
    ("remote", "vcs"): "",
    ("hook", "command"): "true",
}
_BESIDES = {"filter": ("required", "false"), "hook": ("enabled", "false")}  # else git stops, or runs it still
MARKER = "glm-agent.overrides"  # that git lists it shows that it takes overrides from the environment

# What of the caller's environment would have led git elsewhere, or chosen a program.
LEADING = (
    *(
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
    ),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_SHALLOW_FILE", "GIT_ATTR_SOURCE", "GIT_REPLACE_REF_BASE"),
    *("GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "GIT_EXEC_PATH"),
    *("GIT_TEMPLATE_DIR", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL"),
    "GIT_CONFIG_SYSTEM",
)


def harmless(names: Iterable[str]) -> list[tuple[str, str]]:
    """Overrides for those of the settings called `names` that choose a program."""
    found: dict[tuple[str, str], None] = {}
    for name in sorted(names):
        section, _, rest = name.partition(".")
        driver, _, key = rest.rpartition(".")
        if section == "pager" and not driver:
            found[name, "false"] = None
        if driver and (section, key) in _DRIVERS:
            found[name, _DRIVERS[section, key]] = None
            other, value = _BESIDES.get(section, (key, _DRIVERS[section, key]))
            found[f"{section}.{driver}.{other}", value] = None
    return list(found)


def counted(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings as variables, for their names may hold `=`, which `-c` cannot say."""
    env: dict[str, str] = {}
    number = -1
    for number, (key, value) in enumerate(pairs):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {"GIT_CONFIG_COUNT": str(number + 1), **env}
