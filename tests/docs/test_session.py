"""The page about sessions: its examples run, and what it says is what there is."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from object_clerk.receipt import Verdict
from object_clerk.session import Client, Session, metadata, resumable, transport, usecase, zstd
from tests.docs.rst import page
from tests.session.imitation import Imitation
from tests.session.keys import KEY, pem
from tests.session.raw import RawServer

if TYPE_CHECKING:
    import pytest

PAGE = "docs/session.rst"


def test_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    imitation = Imitation(knows=True)
    names: dict[str, object] = {"private_key": pem(KEY)}
    with RawServer(imitation) as raw:
        for _, text in page(PAGE).blocks("python"):
            exec(text.replace("http://localhost:8888", raw.url), names)
        for each in names.values():
            if isinstance(each, Client):
                each.close()
    assert capsys.readouterr().out.splitlines() == [
        "CONTENT - SHA-256 of the stored bytes and of the content, kept by the server",
        "text/plain {'source': 'upload-service'} Bericht für 2026.txt",
        "TimeToLive(delta=datetime.timedelta(seconds=3600))",
    ]
    assert imitation.objects["attachments/org=42;project=1337/large"][0] == b"onetwo"


def test_numbers_are_those_of_the_code() -> None:
    text = page(PAGE).text
    assert f"It keeps {transport.POOL_SIZE} connections" in text
    assert f"take {transport.CONNECT_TIMEOUT_S * 1000:.0f} ms" in text
    assert f"tried again {transport.CONNECT_RETRIES} times" in text
    assert f"Contents of {usecase.RESUMABLE_BYTES >> 20} MiB" in text
    assert f"chunks of {resumable.CHUNK_BYTES >> 20} MiB" in text
    assert f"more than {1 << zstd.LARGEST_WINDOW_LOG - 20} MiB" in text
    assert f"steps of {zstd.STEP_BYTES >> 10} KiB" in text
    assert len(resumable.PAUSES_S) == 2
    assert f"up to {resumable.ASSEMBLY_S / 60:.0f} minutes" in text
    assert f"at most {metadata.MOST_NAMES}, because" in text


def test_every_verb_and_verdict_is_named() -> None:
    text = page(PAGE).text
    for name, _ in inspect.getmembers(Session, inspect.isfunction):
        if not name.startswith("_"):
            assert name in text, name
    for verdict in Verdict:
        assert (verdict.name in text) is (verdict is not Verdict.TRANSPORT)
