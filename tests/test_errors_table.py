"""The table of errors: every code and status, with its kind, how the run ends, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from glm_agent.outcome import decide
from glm_agent.retry import Failure, classify, final, refusal
from glm_agent.types import Json
from glm_agent.verdicts import Kind

STREAMS = Path(__file__).parent / "streams"

LATER = "try again later"
BUSY = "try again later, or another model"
SLOT = "end other runs with this key, or try again later"
SPLIT = "the conversation no longer fits the model's window; split the task"
REFUSED = "the provider refused the request as it stands"
KEY = "check the key, and that it belongs to this provider"
ACCOUNT = "the account cannot be used; the provider's console says why"
RECHARGE = "recharge the account; if the key belongs to a Coding Plan, use --provider zai-coding"
PRODUCT = (
    "the key belongs to another product of the provider; "
    "if the key belongs to a Coding Plan, use --provider zai-coding"
)
PLAN = "the plan is not valid; renew it, or use another key"
RESET = "try again after the reset"
MODEL = "check -m and --base-url; `glm-agent models` lists what is known"
POLICY = "the provider's content policy refused it"
CONTENT = "the provider's content filter refused it; leave out what it objects to"


class Case(NamedTuple):
    """`code` as provider `zai` sends it with `status`; `pause`: least and most of the first, in seconds."""

    code: str
    status: int | None
    kind: Kind
    subtype: str
    advice: str
    pause: tuple[float, float] | None = None


TABLE = [
    Case("500", 500, "backoff", "error_provider", LATER, (0, 1)),
    Case("1000", 401, "auth", "error_auth", KEY),
    Case("1001", 401, "auth", "error_auth", KEY),
    Case("1002", 401, "auth", "error_auth", KEY),
    Case("1003", 401, "auth", "error_auth", "the key has expired; make a new one"),
    Case("1004", 401, "auth", "error_auth", KEY),
    Case("1005", 401, "auth", "error_auth", KEY),
    Case("1100", 400, "auth", "error_auth", ACCOUNT),
    Case("1110", 400, "auth", "error_auth", ACCOUNT),
    Case("1111", 400, "auth", "error_auth", ACCOUNT),
    Case("1112", 400, "auth", "error_auth", ACCOUNT),
    Case("1113", 429, "balance", "error_auth", RECHARGE),
    Case("1120", 400, "auth", "error_auth", ACCOUNT),
    Case("1121", 400, "auth", "error_auth", ACCOUNT),
    Case("1200", 500, "backoff", "error_provider", LATER, (0, 1)),
    Case("1210", 400, "drop", "error_during_execution", REFUSED),
    Case("1211", 400, "model", "error_usage", MODEL),
    Case("1212", 400, "model", "error_usage", MODEL),
    Case("1213", 400, "request", "error_during_execution", REFUSED),
    Case("1214", 400, "request", "error_during_execution", REFUSED),
    Case("1215", 400, "drop", "error_during_execution", REFUSED),
    Case("1220", 403, "auth", "error_auth", "the key may not use this; choose another key or model"),
    Case("1221", 400, "model", "error_usage", MODEL),
    Case("1222", 400, "model", "error_usage", MODEL),
    Case("1230", 500, "backoff", "error_provider", LATER, (0, 1)),
    Case("1231", 400, "backoff", "error_provider", LATER, (0, 1)),
    Case("1234", 500, "backoff", "error_provider", LATER, (0, 1)),
    Case("1261", 400, "compact", "error_max_budget", SPLIT),
    Case("1300", 400, "policy", "error_during_execution", POLICY),
    Case("1301", 400, "content", "error_during_execution", CONTENT),
    Case("1302", 429, "slot", "error_provider", SLOT, (1, 3)),
    Case("1303", 429, "backoff", "error_provider", LATER, (1, 5)),
    Case("1304", 429, "quota", "error_provider", "the calls of the day are used up; try again tomorrow"),
    Case("1305", 429, "backoff", "error_provider", BUSY, (15, 30)),
    Case("1308", 429, "quota", "error_provider", RESET),
    Case("1309", 429, "plan", "error_auth", PLAN),
    Case("1310", 429, "quota", "error_provider", RESET),
    Case(
        "1311", 429, "plan", "error_auth", "the plan does not include this model; choose another one with -m"
    ),
    Case("1312", 429, "backoff", "error_provider", BUSY, (15, 30)),
    Case(
        "1313",
        429,
        "policy",
        "error_auth",
        "the plan's rules of use do not allow it; use a pay-as-you-go key",
    ),
    Case("1314", 429, "plan", "error_auth", PLAN),
    Case("1315", 429, "balance", "error_auth", PRODUCT),
    *(Case(str(code), 429, "quota", "error_provider", RESET) for code in range(1316, 1322)),
    # other hosts' words for the same
    Case("context_length_exceeded", 400, "compact", "error_max_budget", SPLIT),
    Case("insufficient_quota", 429, "balance", "error_auth", RECHARGE),
    Case("invalid_api_key", 401, "auth", "error_auth", KEY),
    Case("model_not_found", 404, "model", "error_usage", MODEL),
    Case("rate_limit_exceeded", 429, "backoff", "error_provider", LATER, (1, 5)),
    Case("overloaded_error", 529, "backoff", "error_provider", BUSY, (15, 30)),
    Case("unsupported_parameter", 400, "drop", "error_during_execution", REFUSED),
    Case("content_filter", 400, "content", "error_during_execution", CONTENT),
    # no code, or one that nobody knows
    Case("", 302, "host", "error_during_execution", "check --base-url"),
    Case("", 400, "drop", "error_during_execution", REFUSED),
    Case("", 401, "auth", "error_auth", KEY),
    Case("", 402, "balance", "error_auth", RECHARGE),
    Case("", 403, "auth", "error_auth", KEY),
    Case("", 404, "model", "error_usage", MODEL),
    Case("", 408, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 409, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 413, "compact", "error_max_budget", SPLIT),
    Case("", 418, "request", "error_during_execution", REFUSED),
    Case("", 422, "drop", "error_during_execution", REFUSED),
    Case("", 425, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 429, "backoff", "error_provider", LATER, (1, 5)),
    Case("9999", 429, "backoff", "error_provider", LATER, (1, 5)),
    Case("", 500, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 502, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 503, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 504, "backoff", "error_provider", LATER, (0, 1)),
    Case("9999", 520, "backoff", "error_provider", LATER, (0, 1)),
    Case("", 529, "backoff", "error_provider", BUSY, (15, 30)),
    Case("", None, "backoff", "error_provider", LATER, (0, 1)),
]
EXIT_CODES = {
    "error_auth": 41,
    "error_provider": 75,
    "error_during_execution": 1,
    "error_usage": 2,
    "error_max_budget": 55,
}
PROTOCOL = [
    *(
        500,
        *range(1000, 1006),
        1100,
        *range(1110, 1114),
        1120,
        1121,
        1200,
        *range(1210, 1216),
        *range(1220, 1223),
    ),
    *(1230, 1231, 1234, 1261, *range(1300, 1306), *range(1308, 1322)),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.code}-{case.status}")
def test_a_code_has_its_kind_its_end_and_its_advice(case: Case) -> None:
    failure = Failure("why", case.status, case.code)
    row = classify(failure)
    pause = (row.pause.least, row.pause.steps[0]) if row.pause else None
    error = final(failure, "h", "zai")
    assert Case(case.code, case.status, row.kind, error.subtype, str(error).partition("; ")[2], pause) == case
    assert row.again is (case.pause is not None)
    assert decide([error.subtype]).exit_code == EXIT_CODES[case.subtype]


def test_every_code_of_the_protocol_is_in_the_table() -> None:
    assert {case.code for case in TABLE} >= set(map(str, PROTOCOL))


@pytest.mark.parametrize("case", [case for case in TABLE if case.code.isdecimal() and case.code != "9999"])
@pytest.mark.parametrize("status", [400, 401, 429, 500, None])
def test_a_code_knows_better_than_the_status(case: Case, status: int | None) -> None:
    assert classify(Failure("why", status, case.code)).kind == case.kind


RECORDED: dict[str, tuple[int, str, str, Kind]] = {  # status, code, message, kind
    "12-zai-401-no-token.json": (401, "1001", "Authorization Token Missing", "auth"),
    "13-zai-502-gateway.html": (502, "", "502 Bad Gateway ZS", "backoff"),
    "34-hyper-500-error.json": (
        500,
        "",
        'stream error: internal server error: {"detail":"We encountered an error processing your request. '
        'Please try again."}',
        "backoff",
    ),
    "70-err-429-1308-zh.json": (
        429,
        "1308",
        "已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。",
        "quota",
    ),
    "71-err-429-1302-en.json": (
        429,
        "1302",
        "High concurrency usage of this API, please reduce concurrency or contact customer service to "
        "increase limits",
        "slot",
    ),
    "72-err-429-1305.json": (
        429,
        "1305",
        "The service may be temporarily overloaded, please try again later",
        "backoff",
    ),
    "73-err-400-1214-en.json": (
        400,
        "1214",
        "The messages parameter is illegal. Please check the documentation.",
        "request",
    ),
    "74-err-400-1214-zh.json": (400, "1214", "messages 参数非法。请检查文档。", "request"),
    "75-err-400-1210-glm53-disable.json": (
        400,
        "1210",
        "This model always engages in thinking and cannot be disabled; please use low, high, or max",
        "drop",
    ),
    "76-err-400-1261.json": (400, "1261", "Prompt exceeds max length", "compact"),
    "77-err-429-1113-anthropic-surface.json": (
        429,
        "1113",
        "Insufficient balance or no resource package. Please recharge.",
        "balance",
    ),
    "78-err-404-wrong-path.json": (404, "", "Not Found", "model"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_refusal_is_read_for_what_it_is(name: str) -> None:
    text = (STREAMS / name).read_text("utf-8")
    status, code, message, kind = RECORDED[name]
    failure = refusal(status, json.loads(text) if name.endswith(".json") else text)
    assert (failure.status, failure.code, failure.message, classify(failure).kind) == (
        status,
        code,
        message,
        kind,
    )


NESTED = json.dumps({"error": {"code": "1305", "message": "overloaded"}})
SHAPES: list[tuple[int | None, object, int | None, str, str]] = [  # status, body; status, code, message
    (429, {"error": {"code": "1302", "message": "a\n b"}}, 429, "1302", "a b"),
    (429, {"error": {"code": 1302, "message": "a"}}, 429, "1302", "a"),
    (429, {"code": "1302", "message": "a"}, 429, "1302", "a"),
    (429, {"code": 1302, "msg": "a", "success": False}, 429, "1302", "a"),
    (429, {"code": True, "message": "a"}, 429, "", "a"),
    (404, {"status": 404, "error": "Not Found", "path": "/v4"}, 404, "", "Not Found"),
    (404, "Not Found", 404, "", "Not Found"),
    (429, {"error": {"message": NESTED}}, 429, "1305", "overloaded"),
    (429, {"error": {"message": NESTED, "code": 429}}, 429, "1305", "overloaded"),
    (429, {"error": "x", "message": NESTED}, 429, "1305", "overloaded"),
    (429, NESTED, 429, "1305", "overloaded"),
    (
        429,
        {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": NESTED}}},
        429,
        "1305",
        "overloaded",
    ),
    (429, {"error": {"message": "upstream", "code": 429, "metadata": {"raw": "<"}}}, 429, "429", "upstream"),
    (401, {"error": {"type": "authentication_error", "message": "a"}}, 401, "authentication_error", "a"),
    (500, {"error": {"type": "server_error", "message": "a", "code": None}}, 500, "", "a"),
    (429, {"error": {"message": "[1113][Recharge [now].][20a-b_c]"}}, 429, "1113", "Recharge [now]."),
    (400, {"detail": "a"}, 400, "", "a"),
    (400, {"detail": [{"loc": ["body"]}]}, 400, "", "the host answered with status 400"),
    (
        422,
        {"detail": [{"loc": ["body", "x", 1], "msg": "no"}, {"msg": "nor this"}]},
        422,
        "",
        "body.x.1: no; nor this",
    ),
    (422, {"message": {"detail": [{"loc": ["body"], "msg": "no"}]}, "code": None}, 422, "", "body: no"),
    (400, {"errors": [{"message": "a", "code": 5006}], "success": False}, 400, "5006", "a"),
    (400, [{"error": {"message": "a", "code": 400}}], 400, "400", "a"),
    (429, {"error": {"error": {"message": "a", "code": "1302"}}}, 429, "1302", "a"),
    (429, {"error_code": 18, "error_msg": "a"}, 429, "", "a"),
    (401, {"error": "invalid_token", "error_description": "a"}, 401, "", "a"),
    (400, {"error": True, "message": "a"}, 400, "", "a"),
    (503, [], 503, "", "the host answered with status 503"),
    (503, None, 503, "", "the host answered with status 503"),
    (502, "<html><title>Bad\nGateway</title>", 502, "", "Bad Gateway"),
    (500, "x" * 1000, 500, "", "x" * 300),
    (400, "{" * 5000, 400, "", "{" * 300),
    (500, "{}", 500, "", "{}"),
    (None, {"code": 502, "message": "a"}, 502, "502", "a"),
    (None, {"code": "1305", "message": "a"}, None, "1305", "a"),
    (None, {}, None, "", "the host gave no reason"),
    (429, {"error": {"code": "9" * 100, "message": "a"}}, 429, "9" * 64, "a"),
]


@pytest.mark.parametrize(("status", "body", "found", "code", "message"), SHAPES)
def test_a_refusal_is_read_in_whatever_shape_it_comes(
    status: int | None, body: object, found: int | None, code: str, message: str
) -> None:
    failure = refusal(status, body)
    assert (failure.status, failure.code, failure.message) == (found, code, message)


def test_errors_wrapped_without_end_are_not_followed_without_end() -> None:
    body: Json = {"error": {"message": "deep"}}
    for _ in range(8):
        body = {"error": {"message": json.dumps(body)}}
    assert classify(refusal(500, body)).kind == "backoff"


WORDS: list[tuple[int | None, str, Kind]] = [
    (400, "/chat/completions: Invalid model name passed in model=glm-9. Call `/v1/models`", "model"),
    (400, "No connected db.", "auth"),
    (400, "This model's maximum context length is 32768 tokens. However, you requested 40000", "compact"),
    (400, "the request exceeds the available context size, try increasing it", "compact"),
    (400, "prompt is too long: 210000 tokens", "compact"),
    (400, "The input (210000 tokens) is longer than the model's context length (202752 tokens).", "compact"),
    (400, "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens).", "compact"),
    (400, "输入内容超过模型最大长度", "compact"),
    (400, "输入过长", "compact"),
    (429, "余额不足或无可用资源包。请充值。", "balance"),
    (403, "Insufficient credits", "balance"),
    (429, "Usage limit reached for 5 hour. Your limit will reset at 2026-09-04 19:01:25", "quota"),
    (429, "已达到 5 小时的使用上限。", "quota"),
    (429, "您当前使用该API的并发数过高。请降低并发", "slot"),
    (429, "Too many concurrent requests", "slot"),
    (404, "The model `glm-9` does not exist.", "model"),
    (400, "模型不存在。请检查模型代码。", "model"),
    (400, "系统检测到输入或生成内容可能包含不安全或敏感内容", "content"),
    (400, "Error code: 429 - {'error': {'code': '1302', 'message': 'x'}}", "slot"),
    (500, "upstream said code 1305", "backoff"),
    (500, "1113: no money", "balance"),
    (400, "错误码\uff1a1261", "compact"),
    (400, "1302 tokens are too many", "drop"),
    (400, "stop: case-sensitive", "drop"),
    (400, "code: 4711", "drop"),
    (None, "cannot reach h: [Errno 111] Connection refused", "backoff"),
    (None, "cannot reach h: [Errno -2] Name or service not known", "backoff"),
    (None, "cannot reach h: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", "backoff"),
    (
        None,
        "cannot reach h: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
        "host",
    ),
    (None, "cannot reach h: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1016)", "host"),
    (None, "cannot reach h: [SSL] record layer failure (_ssl.c:1016)", "host"),
    (503, "certificate verify failed", "backoff"),
    (400, "registry.ollama.ai/library/glm4:9b does not support tools", "tools"),
    (404, "No endpoints found that support tool use. To learn more, visit: …", "tools"),
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "tools"),
    (500, "tools param requires --jinja flag", "tools"),
    (400, "This model doesn't support function calling", "tools"),
    (422, "tools is not supported", "tools"),
    (400, "Unsupported parameter: 'tools' is not supported with this model.", "tools"),
    (400, "`tool calling` is not supported with this model", "tools"),
    (400, "Tool use is not supported by this model", "tools"),
    (400, "该模型不支持工具调用", "tools"),
    (501, "Tool calling is not enabled for this deployment", "tools"),
    (400, "Unrecognized request argument supplied: tools", "tools"),
    (422, "Unknown parameter: 'tools'.", "tools"),
    (400, "[{'type': 'extra_forbidden', 'loc': ('body', 'tools'), 'msg': 'Extra inputs are'}]", "tools"),
    (422, "body.tools: Extra inputs are not permitted", "tools"),
    (422, "body.tool_stream: Extra inputs are not permitted", "drop"),
    (422, "body.tools.0.function.strict: Extra inputs are not permitted", "drop"),
    (400, "当前模型不支持Function Call", "tools"),
    (400, "Unknown parameter: 'tools[0].function.strict'.", "drop"),
    (400, "Unknown parameter: 'tool_stream'.", "drop"),
    (400, "tool_stream is not supported", "drop"),
    (400, "this host does not support tool_choice", "drop"),
    (400, "This model does not support images", "drop"),
    (400, "模型不支持图片", "drop"),
]


@pytest.mark.parametrize(("status", "message", "kind"), WORDS)
def test_words_decide_where_no_code_does(status: int | None, message: str, kind: Kind) -> None:
    assert classify(Failure(message, status)).kind == kind
    assert classify(Failure(message, status, "1234")).kind == "backoff"


@pytest.mark.parametrize("code", ["1210", "1213", "1214", "1211", "unsupported_parameter", ""])
def test_a_host_without_tools_says_so_under_many_codes(code: str) -> None:
    failure = Failure("this model does not support tools", 400, code)
    assert classify(failure).kind == "tools"
    assert str(final(failure, "h")).endswith(
        "; this work needs tools; choose another model with -m, or another --provider"
    )


SAID: dict[str, tuple[str, str]] = {  # what the provider says with a code, in its two languages
    "500": ("Internal Error", "内部错误"),
    "1000": ("Authentication Failed", "身份验证失败"),
    "1001": ("Authentication Token Missing", "Header中未收到Authorization参数"),
    "1002": ("Invalid Authentication Token", "Authorization Token非法"),
    "1003": ("Authentication Token expired", "Authorization Token已过期"),
    "1004": ("Authentication failed with the provided token", "通过提供的Authorization Token的验证失败"),
    "1005": ("Authentication failed", "验证失败"),
    "1100": ("Account Read/Write", "账户读写"),
    "1110": ("Your account is currently inactive", "您的账户当前处于非活动状态"),
    "1111": ("Your account does not exist", "您的账户不存在"),
    "1112": ("Your account has been locked", "您的账户已被锁定"),
    "1113": (
        "Insufficient balance or no resource package. Please recharge.",
        "余额不足或无可用资源包",
    ),
    "1120": ("Unable to access your account", "无法成功访问您的账户"),
    "1121": ("Your account has been locked for irregular activities", "账号已被锁定"),
    "1200": ("API Call Error", "API 调用错误"),
    "1210": ("Invalid API parameter, please check the documentation.", "API 调用参数有误"),
    "1211": ("Unknown Model, please check the model code.", "模型不存在"),
    "1212": ("The current model does not support the SSE call method", "当前模型不支持SSE调用方式"),
    "1213": ("The messages parameter was not received properly", "未正常接收到messages参数。"),
    "1214": (
        "The messages parameter is illegal. Please check the documentation.",
        "messages 参数非法。请检查文档。",
    ),
    "1215": ("a and b cannot be set at the same time", "a与b不能同时设置"),
    "1220": ("You do not have permission to access chat", "您无权访问chat"),
    "1221": ("API chat has been taken offline", "API chat已下线"),
    "1222": ("API chat does not exist", "API chat不存在"),
    "1230": ("API call process error", "API 调用流程出错"),
    "1231": ("You already have a request: 42", "您已有请求42"),
    "1234": ("Network error, error id: 42", "网络错误"),
    "1261": ("Prompt exceeds max length", "Prompt 超长"),
    "1300": ("API call blocked by policy", "API 调用被策略阻止"),
    "1301": (
        "System detected potentially unsafe or sensitive content in input or generation.",
        "系统检测到输入或生成内容可能包含不安全或敏感内容",
    ),
    "1302": ("High concurrency usage of this API", "您当前使用该API的并发数过高"),
    "1303": ("High frequency usage of this API", "您当前使用该API的频率过高"),
    "1304": ("Daily call limit for this API reached", "该API已达今日调用次数限额"),
    "1305": (
        "The service may be temporarily overloaded, please try again later",
        "该模型当前访问量过大",
    ),
    "1308": (
        "Usage limit reached for 5 hour. Your limit will reset at 2026-09-04 19:01:25",
        "已达到 5 小时的使用上限。您的限额将在 2026-08-25 07:41:44 重置。",
    ),
    "1309": ("Your GLM Coding Plan package has expired", "您的GLM Coding Plan套餐已到期"),
    "1310": (
        "Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-09-04 19:01:25",
        "已达到每周/每月使用上限 您的限额将在 2026-08-25 07:41:44 重置。",
    ),
    "1311": ("Your plan does not yet include access to glm-5.3", "当前订阅套餐暂未开放glm-5.3权限"),
    "1312": ("The model is under heavy traffic, please try another one", "该模型访问量过大"),
    "1313": (
        "Your usage pattern does not comply with the Fair Usage Policy",
        "您的使用模式不符合公平使用政策",
    ),
    "1314": ("Your enterprise plan is invalid", "企业套餐无效"),
    "1315": ("The key does not match the product", "密钥与产品不匹配"),
    **{
        str(code): ("The usage limit of the member is reached", "已达到使用上限")
        for code in range(1316, 1322)
    },
}
VAGUE = {"1100", "1120", "1212", "1213", "1214", "1221", "1222", "1231", "1300", "1314", "1315"}  # without it


def test_every_code_of_the_protocol_has_its_words_in_both_languages() -> None:
    assert set(SAID) == set(map(str, PROTOCOL))


@pytest.mark.parametrize("case", [case for case in TABLE if case.code in SAID], ids=lambda case: case.code)
@pytest.mark.parametrize("language", [0, 1], ids=["en", "zh"])
def test_a_code_means_the_same_in_either_language_also_where_a_gateway_lost_it(
    case: Case, language: int
) -> None:
    message = SAID[case.code][language]
    told = refusal(case.status, {"error": {"code": case.code, "message": message}})
    assert (classify(told).kind, told.message) == (case.kind, message)
    lost = refusal(case.status, {"error": {"message": message}})
    assert classify(lost).kind == case.kind or case.code in VAGUE


PRODUCTS = {  # provider: 1113, 1315
    "zai": ("if the key belongs to a Coding Plan, use --provider zai-coding",) * 2,
    "bigmodel": ("if the key belongs to a Coding Plan, use --provider bigmodel-coding",) * 2,
    "zai-coding": ("if the key is not the Coding Plan's, use --provider zai",) * 2,
    "bigmodel-coding": ("if the key is not the Coding Plan's, use --provider bigmodel",) * 2,
    "custom": ("a Coding Plan key works with --provider zai-coding only",) * 2,
    "openrouter": ("recharge the account", "a Coding Plan key works with --provider zai-coding only"),
}


@pytest.mark.parametrize("provider", PRODUCTS)
def test_a_key_of_the_other_product_is_told_which_provider_to_use(provider: str) -> None:
    said = [str(final(Failure("no", 429, code), "h", provider)) for code in ("1113", "1315")]
    assert [text.rpartition("; ")[2] for text in said] == list(PRODUCTS[provider])
