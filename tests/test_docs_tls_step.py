"""The program of the document on TLS as a step runs as it stands there."""

from __future__ import annotations

import re

from .test_documents import output_of, programs


def test_the_program_of_tls_as_a_step() -> None:
    program = next(one for one in programs("docs/tls.md") if "Pair(" in one)
    assert re.fullmatch(r"TLS13_AES256GCM_SHA384 \('node\.example',\) \w+\n", output_of(program))
