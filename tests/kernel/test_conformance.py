"""jupyter_kernel_test's suite, every test that applies (cells cannot clear their output)."""

from __future__ import annotations

import jupyter_kernel_test
import pytest


@pytest.mark.usefixtures("jupyter", "stage")
class TestConformance(jupyter_kernel_test.KernelTests):
    kernel_name = "bastionlab"
    language_name = "bastionlab"
    file_extension = ".bastion"
    code_hello_world = 'print("hello, world")'
    code_stderr = 'connect()\nold = dataset("titanic").groupby("Pclass")'
    completion_samples = [  # noqa: RUF012
        {"text": "datas", "matches": {"dataset", "datasets"}},
        {"text": 'pl.col("a").str.to_l', "matches": {"to_lowercase"}},
        {"text": "%who", "matches": {"whoami"}},
    ]
    complete_code_samples = ["1", "x = 1", "for c in [1, 2]:\n    print(c)\n\n", "%whoami", "?pl.col"]  # noqa: RUF012
    incomplete_code_samples = ["pl.col(", "for c in [1, 2]:", "x = ["]  # noqa: RUF012
    invalid_code_samples = ["1 +* 2", "x = )"]  # noqa: RUF012
    code_page_something = "pl.col?"
    code_generate_error = "import os"
    code_execute_result = [  # noqa: RUF012
        {"code": "6 * 7", "result": "42"},
        {"code": '"a" + "b"', "result": "'ab'"},
    ]
    code_display_data = [{"code": "display([1, 2])", "mime": "text/plain"}]  # noqa: RUF012
    test_clear_output = None
    code_inspect_sample = "pl.col"
    code_history_pattern = "6 ?*"
    supported_history_operations = ("tail", "range", "search")
