from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import first_fast

from glm_agent.reported import junit
from glm_agent.reported.junit import BadReport

OUTPUTS = Path(__file__).parent / "outputs"


def cases(text: str | bytes, pieces: int = 1 << 20) -> dict[str, str]:
    data = text.encode() if isinstance(text, str) else text
    found = junit.read(data[at : at + pieces] for at in range(0, len(data), pieces))
    return {case.name: case.state for case in found}


RECORDED = {
    "pytest.xml": {
        "test_b [not run]": "failed",
        "test_a::test_ok": "passed",
        "test_a::test_bad": "failed",
        "test_a.TestX::test_p[1]": "passed",
        "test_a.TestX::test_p[2]": "failed",
        "test_a::test_setup": "failed",
        "test_a::test_teardown": "failed",
        "test_a::test_skip": "skipped",
        "test_a::test_xfail": "skipped",
    },
    "pytest-unittest.xml": {
        "test_u.Case::test_bad": "failed",
        "test_u.Case::test_odd": "failed",
        "test_u.Case::test_ok": "passed",
        "test_u.Case::test_sub": "failed",
    },
    "node.xml": {
        "/w/broken.test.js [not run]": "failed",
        "top adds": "failed",
        "top ok": "passed",
        "sum > adds two": "failed",
        "sum > subtracts": "passed",
        "sum > later": "skipped",
        "sum > todo one": "skipped",
        "sum > deep > adds two": "failed",
    },
    "ctest.xml": {
        "parser.adds": "failed",
        "slow": "failed",
        "ok": "passed",
        "absent": "failed",
        "skip": "skipped",
        "off": "skipped",
    },
    "jest.xml": {
        "sum adds": "failed",
        "sum subtracts": "passed",
        "sum later": "skipped",
        "sum deep adds": "failed",
        "top": "failed",
        "src/broken.test.js [not run]": "failed",
        "fine": "passed",
    },
    "vitest.xml": {
        "v/a.test.ts::sum > adds": "failed",
        "v/a.test.ts::sum > subtracts": "passed",
        "v/a.test.ts::sum > deep > adds": "failed",
        "v/a.test.ts::top": "failed",
        "v/b.test.ts [not run]": "failed",
    },
    "surefire.xml": {
        "x.SumTest::adds": "failed",
        "x.SumTest::fine": "passed",
        "x.SumTest::flaky": "failed",
        "x.SumTest::later": "skipped",
        "x.SumTest::crashes": "failed",
        "x.SumTest$Deep::adds": "failed",
    },
    "surefire-rerun.xml": {
        "x.SumTest::adds": "failed",
        "x.SumTest::fine": "passed",
        "x.SumTest::flaky": "flaky",
        "x.SumTest::later": "skipped",
        "x.SumTest::crashes": "failed",
        "x.SumTest$Deep::adds": "failed",
    },
    "surefire-setup.xml": {"x.SetupTest [not run]": "failed"},
}
PHPUNIT = """<testsuites><testsuite name="/w/phpunit.xml"><testsuite name="unit">
<testsuite name="App\\SumTest">
<testsuite name="App\\SumTest::testAdds"><testcase name="testAdds with data set #0" class="App\\SumTest"
 classname="App.SumTest" file="/w/SumTest.php" line="9"><failure type="E">no</failure></testcase></testsuite>
<testcase name="testFine" classname="App.SumTest"/></testsuite></testsuite></testsuite></testsuites>"""
GOTESTSUM = """<testsuites><testsuite tests="2" name="example.com/m/sum">
<testcase classname="example.com/m/sum" name="TestSum/negative"><failure message="Failed" type="">x</failure>
</testcase><testcase classname="example.com/m/sum" name="TestFine"></testcase></testsuite>
<testsuite name="example.com/m/other"><testcase classname="example.com/m/other" name="TestMain">
<failure>FAIL example.com/m/other [build failed]</failure></testcase></testsuite></testsuites>"""


LATIN = '<?xml version="1.0" encoding="ISO-8859-1"?><testsuite><testcase name="\xfc"/></testsuite>'


@pytest.mark.parametrize("name", RECORDED)
def test_what_runners_wrote_is_read_however_it_comes_in(name: str) -> None:
    data = (OUTPUTS / name).read_bytes()
    assert cases(data) == cases(data, 7) == RECORDED[name]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PHPUNIT, {"App.SumTest::testAdds with data set #0": "failed", "App.SumTest::testFine": "passed"}),
        (
            GOTESTSUM,
            {
                "example.com/m/sum::TestSum/negative": "failed",
                "example.com/m/sum::TestFine": "passed",
                "example.com/m/other::TestMain [not run]": "failed",
            },
        ),
        # A suite may fail by itself; what stands beside the cases is not one.
        ('<testsuite name="s"><error message="no"/><system-out/></testsuite>', {"s [not run]": "failed"}),
        (
            '<testsuite><testcase name="a" status="fail"/><testcase name="b" status="run"><system-err>FAIL'
            '</system-err></testcase><testcase name="c"><rerunFailure/></testcase></testsuite>',
            {"a": "failed", "b": "passed", "c": "passed"},
        ),
        ("<testsuites/>", {}),
        (LATIN.encode("latin-1"), {"\xfc": "passed"}),
        ('<testsuite><testcase name="\xfc"/></testsuite>'.encode("utf-16"), {"\xfc": "passed"}),
        (b'<testsuite><testcase name="\x1b[31ma\x00"/></testsuite>', {"[31ma": "passed"}),
    ],
)
def test_other_dialects(text: str | bytes, found: dict[str, str]) -> None:
    assert cases(text) == found


def test_a_failure_has_its_place_and_a_bounded_text() -> None:
    (case,) = junit.read(
        [
            b'<testsuite><testcase name="a" classname="C" file="x/t.py" line="12"><failure message="short">'
            + b"long " * 100_000
            + b"</failure></testcase></testsuite>"
        ]
    )
    assert (case.file, case.line, case.text[:10], len(case.text)) == ("x/t.py", 12, "short\nlong", 2000)


ENTITIES = "".join(
    f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
BOMB = f'<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">{ENTITIES}]><testsuite name="&j;"/>'
OUTSIDE = '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite name="&x;"/>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        ("<!DOCTYPE testsuite><testsuite/>", "document type"),
        ("<testsuite>&x;</testsuite>", "well-formed"),
        ("<testsuite><testcase name='a'>", "well-formed"),
        ("", "well-formed"),
        (b"<testsuite><testcase name='\xff\xfe'/></testsuite>", "well-formed"),
        ("<html/>", "it begins with <html>"),
        ('<?xml version="1.0" encoding="klingon"?><testsuite/>', "decoded|well-formed"),
        ("<testsuite>" + "<testsuite>" * 300, "deeply"),
    ],
)
def test_what_cannot_be_trusted_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(BadReport, match=said):
        cases(text)


def test_a_huge_report_is_refused_before_it_is_read_whole() -> None:
    read = 0

    def pieces() -> object:
        nonlocal read
        yield b"<testsuite>"
        while True:
            read += 1
            yield b" " * (1 << 20)

    with pytest.raises(BadReport, match="more than 64 MiB"):
        list(junit.read(pieces()))  # pyright: ignore[reportArgumentType]
    assert read == 64


@pytest.mark.slow
def test_memory_stays_flat_however_much_a_check_printed() -> None:
    tracemalloc.start()
    piece = b"x" * (1 << 20)
    head, tail = b'<testsuite><testcase name="a"><system-out>', b"</system-out></testcase></testsuite>"
    assert [case.state for case in junit.read([head, *[piece] * 60, tail])] == ["passed"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


TAGS = ["testsuites", "testsuite", "testcase", "failure", "skipped", "error", "flakyFailure", "x:testcase"]


@given(
    st.lists(st.sampled_from([*(f"<{tag} name='a'>" for tag in TAGS), *(f"</{tag}>" for tag in TAGS), "t"]))
)
def test_any_markup_is_read_or_refused(parts: list[str]) -> None:
    text = "<testsuite>" + "".join(parts)
    try:
        found = cases(text)
    except BadReport:
        return
    assert all(name for name in found)


@pytest.mark.parametrize("name", first_fast(*RECORDED))
def test_a_report_that_is_cut_anywhere_is_refused(name: str) -> None:
    data = (OUTPUTS / name).read_bytes().rstrip()
    for end in range(0, len(data), 97):
        with pytest.raises(BadReport):
            cases(data[:end])
