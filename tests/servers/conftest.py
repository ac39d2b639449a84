"""The servers of this folder's tests: each is started once."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from foreign import Proxy, Upstream, free_port, install, served

# Who asks again is the client; and what is scripted to fail is not to be set aside.
LITELLM = """\
model_list:
  - model_name: glm-4.7
    litellm_params: {{model: openai/glm-4.7, api_base: "{url}", api_key: of-the-host}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: "{key}"}}
"""


@pytest.fixture(scope="session")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Generator[Proxy]:
    """LiteLLM's proxy, with a scripted host behind it."""
    program = install("litellm").with_name("litellm")
    folder, key, port = tmp_path_factory.mktemp("litellm"), f"sk-{os.urandom(32).hex()}", str(free_port())
    with Upstream([], strict=True) as upstream:
        (folder / "config.yaml").write_text(LITELLM.format(url=upstream.url, key=key), "utf-8")
        argv = [str(program), "--config", "config.yaml", "--host", "127.0.0.1", "--port", port]
        url = f"http://127.0.0.1:{port}"
        # its list of prices is the one that came with it: nothing is fetched
        with served(argv, folder, f"{url}/health/liveliness", LITELLM_LOCAL_MODEL_COST_MAP="True"):
            yield Proxy(f"{url}/v1", key, upstream)
