"""The lines of one hunk: told from what follows by the header's counts where they fit, else by their look."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .refusal import PatchRefused

_NUMBERS = re.compile(r"@@+ *-(\d+)(?: *, *(\d+))? *\+(\d+)(?: *, *(\d+))?")
_OF_MERGE = re.compile(r"@@@+(?: -\d+(?:,\d+)?){2}")
_END = re.compile(r"@@|diff --git |Index: |```|\*\*\* |(?:</[\w-]+>)+$|<\|\w+\|>$|From [0-9a-f]{40} ")
_CLOSING = re.compile(r"</([\w-]+)>")
_FENCE = "```"
_ABOVE = 4000  # lines in which that which stands around the patch is looked for
_ENVELOPE = re.compile(r"\*\*\* (\w+) File: *(.+)")
_KINDS = {
    **dict.fromkeys(("Update", "Modify", "Change", "Edit"), "Update"),
    **dict.fromkeys(("Add", "Create"), "Add"),
    **dict.fromkeys(("Delete", "Remove"), "Delete"),
}
_END_OF_FILE = "*** End of File"
_UNSPACED = re.compile(r"---( ?)(\S.*)"), re.compile(r"\+\+\+( ?)(\S.*)")
_SIGNATURE = re.compile(r"\d+\.\d+")
_DIGITS = 9  # a line number with more is no line number


@dataclass(slots=True)
class Header:
    """A hunk's header; `written` False if the line was left out, numbers None where they make no sense."""

    written: bool = False
    start: int | None = None
    old: int | None = None
    new_start: int | None = None
    new: int | None = None
    section: str = ""


@dataclass(slots=True)
class Body:
    """A hunk's lines as (tag, text); `length` is the number of patch lines it took.

    `bare`: context without a space before it, by number. `ends`: the last old line is the file's last.
    """

    header: Header
    lines: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    length: int = 0
    old_bare: bool = False
    new_bare: bool = False
    anchors: tuple[str, ...] = ()
    bare: set[int] = field(default_factory=set[int])
    ends: bool = False

    def count(self, tags: str) -> int:
        return sum(tag in tags for tag, _ in self.lines)

    def old_without_prefixes(self) -> list[str]:
        """The old lines if no context had a space before it: what was taken for one belongs to them."""
        return [
            f" {text}" if tag == " " and text and at not in self.bare else text
            for at, (tag, text) in enumerate(self.lines)
            if tag != "+"
        ]

    def rebuilt(self) -> str:
        head = f"@@ -1,{self.count(' -')} +1,{self.count(' +')} @@\n"
        return head + "".join(f"{tag}{text}\n" for tag, text in self.lines) if self.lines else ""

    def take(self, line: str, creates: bool) -> None:
        """Adds one patch line; a blank one is context that lost its space, or in a new file its +."""
        self.length += 1
        if line.startswith("\\"):
            last = self.lines[-1][0] if self.lines else ""
            self.old_bare |= last in (" ", "-")
            self.new_bare |= last in (" ", "+")
        elif not line or line == "\r":
            self.lines.append(("+" if creates else " ", line))
        elif line[0] in " +-":
            self.lines.append((line[0], line[1:]))
        else:
            self.bare.add(len(self.lines))
            self.lines.append((" ", line))


def hunk_header(line: str) -> Header:
    if _OF_MERGE.match(line):  # has a column of marks for each parent
        raise PatchRefused("the diff of a merge cannot be applied", hint="send the diff with one parent")
    section, match = _section(line), _NUMBERS.match(line)
    if not match or any(len(number or "") > _DIGITS for number in match.groups()):
        return Header(True, section=section)
    start, old, new_start, new = (None if number is None else int(number) for number in match.groups())
    return Header(True, start, 1 if old is None else old, new_start, 1 if new is None else new, section)


def _section(line: str) -> str:
    """What a hunk's header says beside its numbers."""
    rest = line.lstrip("@")
    numbers, mark, beyond = rest.partition("@@")
    if mark and not numbers.strip("-+, 0123456789"):
        rest = beyond.lstrip("@")
    if rest.endswith("@@"):
        rest = rest.rstrip("@")
    return rest.strip(" ")


def starts_file(lines: Sequence[str], at: int) -> tuple[str, str, str, int] | None:
    """If a file's header is at `at`: its kind, the old and the new name field, and its number of lines."""
    line = lines[at]
    if line.startswith("diff --git "):
        return "git", line[11:], "", 1
    if line.startswith("*** "):
        return envelope(line)
    following = lines[at + 1] if at + 1 < len(lines) else ""
    if line.startswith("--- ") and following.startswith("+++ "):
        return "pair", line[4:], following[4:], 2
    if line.startswith("--- ") and following.startswith("@@"):
        return "pair", line[4:], "", 1
    if line.startswith("+++ ") and following.startswith("@@"):
        return "pair", "", line[4:], 1
    return _unspaced(line, following, lines[at + 2 : at + 3]) if line.startswith("---") else None


def _unspaced(line: str, following: str, below: Sequence[str]) -> tuple[str, str, str, int] | None:
    """The same for `---a/path` and `+++b/path`, which name one file right above a hunk."""
    old, new = _UNSPACED[0].fullmatch(line), _UNSPACED[1].fullmatch(following)
    if not old or not new or (old[1] and new[1]) or not below or not below[0].startswith("@@"):
        return None
    same = {name.partition("\t")[0].removeprefix(prefix) for name, prefix in ((old[2], "a/"), (new[2], "b/"))}
    return ("pair", old[2], new[2], 2) if len(same - {"/dev/null"}) == 1 else None


def envelope(line: str) -> tuple[str, str, str, int] | None:
    """The same for a line like `*** Update File: path`."""
    match = _ENVELOPE.match(line)
    kind = _KINDS.get(match[1]) if match else None
    return (kind, match[2], match[2], 1) if match and kind else None


def read_body(lines: Sequence[str], at: int, header: Header, creates: bool) -> Body:
    """The hunk whose first line is `lines[at]`."""
    creates = creates or (header.start == 0 and header.old == 0)
    body = _counted(lines, at, header) or _looked(lines, at, header, creates)
    body.ends = _END_OF_FILE in (line.strip() for line in lines[at + body.length : at + body.length + 1])
    return body


def _counted(lines: Sequence[str], at: int, header: Header) -> Body | None:
    """The hunk if the counts of its header fit it exactly and nothing that looks like a hunk line follows."""
    if header.old is None or header.new is None:
        return None
    body, old, new = Body(header), header.old, header.new
    while old > 0 or new > 0 or (at + body.length < len(lines) and lines[at + body.length].startswith("\\ ")):
        if at + body.length >= len(lines):
            return None
        line = lines[at + body.length]
        if _is_header(lines, at + body.length):
            return None
        body.take(line, creates=header.old == 0)
        if not line.startswith("\\"):
            tag = body.lines[-1][0]
            old -= tag in " -"
            new -= tag in " +"
        if old < 0 or new < 0:
            return None
    return None if _goes_on(lines, at + body.length) else body


def _is_header(lines: Sequence[str], at: int) -> bool:
    """Whether a file's or hunk's header is here for certain: content that looks like one has a prefix."""
    line = lines[at]
    if line.startswith("--- "):
        return (
            starts_file(lines, at) is not None
            and lines[at + 2 : at + 3] != []
            and lines[at + 2].startswith("@@")
        )
    return line.startswith(("@@", "diff --git "))


def _goes_on(lines: Sequence[str], at: int) -> bool:
    """Whether the next line that is not blank looks like one of a hunk."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at == len(lines) or lines[at][0] not in " +-":
        return False
    return not _ends(lines, at) and starts_file(lines, at) is None


def _ends(lines: Sequence[str], at: int) -> bool:
    line = lines[at]
    if line.rstrip() == "--":
        return at + 1 >= len(lines) or bool(_SIGNATURE.match(lines[at + 1]))
    if line.startswith("---") and not line.startswith("--- "):  # sooner a line that goes
        return False
    return bool(_END.match(line)) or starts_file(lines, at) is not None


def _closes_its_own(lines: Sequence[str], at: int, end: int) -> bool:
    """Whether the tag or fence at `end` closes what the hunk's lines opened, not what is around the patch."""
    line, above = lines[end].rstrip("\r"), lines[max(0, at - _ABOVE) : at]
    sent = [text[1:].strip() for text in lines[at:end] if text[:1] in ("+", " ")]
    if tag := _CLOSING.fullmatch(line):
        opened = sum(text.count(f"<{tag[1]}") - text.count(f"</{tag[1]}>") for text in sent)
        return opened > 0 and not any(text.startswith(f"<{tag[1]}") for text in above)
    if line.rstrip() != _FENCE or sum(text.startswith(_FENCE) for text in sent) % 2 == 0:
        return False
    opened = sum(text.startswith(_FENCE) for text in above) % 2
    following = sum(text.startswith(_FENCE) for text in lines[end : end + _ABOVE])
    return not opened or following % 2 == 0


def _looked(lines: Sequence[str], at: int, header: Header, creates: bool) -> Body:
    end = at
    while end < len(lines) and (not _ends(lines, end) or _closes_its_own(lines, at, end)):
        end += 1
    while end > at and not lines[end - 1].strip("\r"):
        end -= 1
    end = _without_prose(lines, at, end)
    body = Body(header)
    for line in lines[at:end]:
        body.take(line, creates)
    return body


def _without_prose(lines: Sequence[str], at: int, end: int) -> int:
    """`end` without paragraphs of text that have no prefixes, if all before them has."""
    bare = [bool(line.strip()) and line[0] not in " +-\\" for line in lines[at:end]]
    first = bare.index(True) if True in bare else 0
    tail = zip(bare[first:], lines[at + first : end], strict=True)
    if (
        not first
        or lines[at + first - 1].strip()
        or any(line.strip() and not is_bare for is_bare, line in tail)
    ):
        return end
    while first and not lines[at + first - 1].strip("\r"):
        first -= 1
    return at + first
