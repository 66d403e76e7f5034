"""Requests to a PACS that does not behave: pages, retries, cut bodies, redirects, and what messages say."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import Source, open_source
from diagchd_batch.sources.dicomweb import search
from diagchd_batch.sources.source import HeaderSource
from tests.unit.sources.dicomweb.scripted_server import Answer, Request, ScriptedServer

FAST = DicomwebConfig(max_requests_per_second=10_000, max_requests_in_flight=2)
KEY = "studies/1.2/series/1.2.1/instances/1.2.1.1"
CONTENT = b"\0" * 128 + b"DICM" + bytes(range(256)) * 20
Page = Callable[[list[dict[str, object]], Request], Answer]
Start = Callable[[Callable[[Request], Answer]], ScriptedServer]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    for name in list(os.environ):
        if name.startswith("DIAGCHD_DICOMWEB_"):
            monkeypatch.delenv(name)
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(ScriptedServer(answer).running())


def opened(server: ScriptedServer, timeout_s: float = 5.0, filters: str = "") -> Source:
    return open_source(server.uri + filters, object_timeout_s=timeout_s, dicomweb=FAST)


def study(number: int, n_instances: int | None = 1) -> dict[str, object]:
    item: dict[str, object] = {"0020000D": {"vr": "UI", "Value": [f"1.{number}"]}}
    return item | ({} if n_instances is None else {"00201208": {"vr": "IS", "Value": [n_instances]}})


def instance(study_number: int, number: int) -> dict[str, object]:
    uids = {
        "0020000D": f"1.{study_number}",
        "0020000E": f"1.{study_number}.1",
        "00080018": f"1.{study_number}.1.{number}",
    }
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}


def found(items: list[dict[str, object]], **headers: str) -> Answer:
    return Answer(json.dumps(items).encode(), headers=headers)


def multipart(*contents: bytes, boundary: str = "b-1") -> Answer:
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content + b"\r\n" for content in contents
    )
    body = parts + f"--{boundary}--\r\n".encode()
    return Answer(body, content_type=f'multipart/related; type="application/dicom; x=1"; boundary={boundary}')


def archive(n_studies: int, n_instances: int, page: Page) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            return page([study(number, None) for number in range(n_studies)], request)
        number = int(request.path.split("/")[3].split(".")[1])
        return page([instance(number, one) for one in range(n_instances)], request)

    return answer


def as_asked(items: list[dict[str, object]], request: Request) -> Answer:
    offset, limit = int(request.query.get("offset", 0)), int(request.query["limit"])
    return found(items[offset : offset + limit])


def at_most_three(items: list[dict[str, object]], request: Request) -> Answer:
    offset = int(request.query.get("offset", 0))
    page = items[offset : offset + 3]
    more = offset + 3 < len(items)
    return found(page, **({"Warning": '299 pacs "There are additional results that can be requested"'} if more else {}))


def everything(items: list[dict[str, object]], request: Request) -> Answer:
    return found(items)


def one_repeated(items: list[dict[str, object]], request: Request) -> Answer:
    offset = max(0, int(request.query.get("offset", 0)) - 1)
    return found(items[offset : offset + 4])


def nothing_is_204(items: list[dict[str, object]], request: Request) -> Answer:
    page = items[int(request.query.get("offset", 0)) :][: int(request.query["limit"])]
    return found(page) if page else Answer(status=204)


@pytest.mark.parametrize("page", [as_asked, at_most_three, everything, one_repeated, nothing_is_204])
def test_every_instance_is_listed_once_however_the_server_pages(
    start: Start, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    monkeypatch.setattr(search, "PAGE_SIZE", 5)
    counts: list[int] = []
    keys = [info.key for info in opened(start(archive(12, 11, page))).list(progress=counts.append)]
    assert len(keys) == len(set(keys)) == 12 * 11
    assert counts[-1] == 132


def test_a_server_that_hides_the_rest_is_refused(start: Start) -> None:
    """It says that there are more results, and sends the same page whatever the offset is."""
    warning = {"Warning": "299 pacs: There are additional results that can be requested"}
    server = start(lambda request: found([study(1), study(2)], **warning))
    with pytest.raises(StorageFault, match="ignores offset"):
        list(opened(server).list())


def test_the_number_of_instances_saves_a_request(start: Start) -> None:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            return found([study(1, 2)] if request.query["offset"] == "0" else [])
        return found([instance(1, 1), instance(1, 2)])

    server = start(answer)
    assert len(list(opened(server).list())) == 2
    assert [request.path for request in server.requests].count("/dicom-web/studies/1.1/instances") == 1


def test_filters_go_to_the_search_that_knows_them(start: Start) -> None:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            return found([study(1, 7)] if request.query["offset"] == "0" else [])
        return found([instance(1, 1)] if request.query["offset"] == "0" else [])

    server = start(answer)
    filters = "?SeriesDescription=4CH&00080061=US&StudyDate=20240101-"
    assert len(list(opened(server, filters=filters).list())) == 1
    studies, instances = (
        next(request.query for request in server.requests if request.path.endswith(end))
        for end in ("/studies", "/instances")
    )
    assert (studies["ModalitiesInStudy"], studies["StudyDate"]) == ("US", "20240101-")
    assert instances["SeriesDescription"] == "4CH"
    assert "SeriesDescription" not in studies and "StudyDate" not in instances


def test_an_identifier_that_could_leave_the_path_is_refused(start: Start) -> None:
    item: dict[str, object] = {"0020000D": {"vr": "UI", "Value": ["../../admin?x=1"]}}
    with pytest.raises(StorageFault, match="without a valid UID"):
        list(opened(start(lambda request: found([item]))).list())


def only_reads(*answers: Answer) -> Callable[[Request], Answer]:
    """Answer reads with these, the last one for ever, and searches with nothing."""
    left = list(answers)

    def answer(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            return found([])
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


CUT = multipart(CONTENT)
PASSING = {
    "500": Answer(status=500),
    "503": Answer(status=503),
    "429": Answer(status=429, headers={"Retry-After": "0"}),
    "408": Answer(status=408),
    "a connection that breaks": Answer(CUT.body[:3000], content_type=CUT.content_type, stated_bytes=len(CUT.body)),
    "a body without its end": Answer(CUT.body[:3000], content_type=CUT.content_type),
    "a body cut in its headers": Answer(CUT.body[:20], content_type=CUT.content_type),
    "a body cut in its end": Answer(CUT.body[:-8], content_type=CUT.content_type),
    "an empty body": Answer(b"", content_type=CUT.content_type),
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
def test_a_passing_failure_is_repeated(start: Start, failure: Answer) -> None:
    server = start(only_reads(failure, failure, multipart(CONTENT)))
    assert opened(server).read(KEY) == CONTENT
    assert len(server.requests) == 3


def test_the_server_is_left_alone_for_as_long_as_it_asks(start: Start) -> None:
    server = start(only_reads(Answer(status=429, headers={"Retry-After": "1"}), multipart(CONTENT)))
    began_s = time.monotonic()
    assert opened(server).read(KEY) == CONTENT
    assert time.monotonic() - began_s >= 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Answer(status=404), FailureCode.NOT_FOUND),
        (Answer(status=410), FailureCode.NOT_FOUND),
        (Answer(status=204), FailureCode.NOT_FOUND),
        (Answer(status=403), FailureCode.ACCESS_DENIED),
        (Answer(status=406), FailureCode.UNREADABLE),
        (Answer(status=500), FailureCode.UNREADABLE),
        (Answer(b"<html>", content_type="text/html"), FailureCode.UNREADABLE),
    ],
)
def test_one_objects_failure_is_told_from_the_servers(start: Start, failure: Answer, code: FailureCode) -> None:
    with pytest.raises(ItemError) as caught:
        opened(start(only_reads(failure)), timeout_s=1.5).read(KEY)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses the credentials"),
        (403, "denies access"),
        (404, "no DICOMweb service"),
        (500, "did not answer in time"),
        (302, "redirects are not followed"),
        (400, "correct the filters"),
    ],
)
def test_a_failure_of_the_server_is_a_fault_that_names_no_patient(start: Start, status: int, words: str) -> None:
    server = start(lambda request: Answer(status=status, headers={"Location": "http://127.0.0.1:9/1.2.1.1"}))
    timeout_s = 0.2 if status == 500 else 20.0  # only that one is repeated until the time is up
    source = opened(server, timeout_s=timeout_s, filters="?PatientID=canary-patient")
    for action in (source.probe, lambda: list(source.list()), lambda: source.read(KEY)):
        with pytest.raises(StorageFault) as caught:
            action()
        text = str(caught.value)
        assert words in text and source.place in text
        for identifier in ("canary", "1.2.1.1", "studies/"):
            assert identifier not in text


def test_a_login_page_is_not_taken_for_an_empty_archive(start: Start) -> None:
    server = start(lambda request: Answer(b"<html>please log in</html>", content_type="text/html"))
    with pytest.raises(StorageFault, match="a login page means that credentials are missing"):
        opened(server).probe()


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'[{"a": ' * 3_000, b"[" + b"9" * 5_000 + b"]"], ids=lambda body: body[:8]
)
def test_an_answer_that_no_program_can_read_is_a_fault_and_not_asked_for_again(start: Start, body: bytes) -> None:
    server = start(lambda request: Answer(body))
    source = opened(server)
    assert isinstance(source, HeaderSource)
    for action in (source.probe, lambda: list(source.list()), lambda: list(source.list_headers())):
        server.requests.clear()
        with pytest.raises(StorageFault, match="something other than DICOM JSON"):
            action()
        assert len(server.requests) == 1


def test_credentials_do_not_follow_a_redirect(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGCHD_DICOMWEB_TOKEN", "token-of-the-pacs")
    elsewhere = start(lambda request: found([]))
    url = f"http://localhost:{elsewhere.port}/dicom-web/studies"
    server = start(lambda request: Answer(status=307, headers={"Location": url}))
    with pytest.raises(StorageFault, match="redirects"):
        opened(server).probe()
    assert server.requests[0].headers["Authorization"] == "Bearer token-of-the-pacs"
    assert elsewhere.requests == []


def test_a_renewed_token_is_found_and_a_refused_one_is_not_tried_twice(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token = tmp_path_factory.mktemp("secrets") / "token"
    token.write_text("new\n")
    monkeypatch.setenv("DIAGCHD_DICOMWEB_TOKEN_FILE", str(token))

    def answer(request: Request) -> Answer:
        return found([]) if request.headers.get("Authorization") == "Bearer new" else Answer(status=401)

    server = start(answer)
    source = opened(server)
    source.probe()
    token.write_text("newer\n")
    server.answer = lambda request: (
        found([]) if request.headers.get("Authorization") == "Bearer newer" else Answer(status=401)
    )
    source.probe()
    server.answer = lambda request: Answer(status=401)
    server.requests.clear()
    with pytest.raises(StorageFault, match="refuses the credentials"):
        source.probe()
    assert len(server.requests) == 1, "an account may be locked after a few wrong passwords"


def test_a_lone_part_without_a_frame_is_read(start: Start) -> None:
    server = start(only_reads(Answer(CONTENT, content_type="application/dicom")))
    assert opened(server).read(KEY) == CONTENT
    assert opened(server).read_range(KEY, 130, 10) == CONTENT[130:140]


def test_two_instances_in_place_of_one_are_not_taken(start: Start) -> None:
    with pytest.raises(ItemError):
        opened(start(only_reads(multipart(CONTENT, CONTENT))), timeout_s=1.5).read(KEY)


def test_a_boundary_within_the_pixels_does_not_end_a_part_of_stated_length(start: Start) -> None:
    content = CONTENT + b"\r\n--b-1\r\n" + CONTENT
    answer = multipart(content)
    answer.body = answer.body.replace(b"\r\n\r\n", f"\r\nContent-Length: {len(content)}\r\n\r\n".encode(), 1)
    assert opened(start(only_reads(answer))).read(KEY) == content


def test_no_more_than_the_limit_is_read(start: Start) -> None:
    server = start(only_reads(multipart(b"x" * 3_000_000)))
    assert len(opened(server).read(KEY, max_bytes=3_000_000)) == 3_000_000
    for limit in (10, 2_999_999):
        with pytest.raises(ItemError) as caught:
            opened(server).read(KEY, max_bytes=limit)
        assert caught.value.code is FailureCode.TOO_LARGE


def test_no_more_requests_are_open_than_allowed(start: Start) -> None:
    open_now, most, lock = [0], [0], threading.Lock()

    def answer(request: Request) -> Answer:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        time.sleep(0.02)
        with lock:
            open_now[0] -= 1
        return multipart(CONTENT)

    source = opened(start(answer))
    threads = [threading.Thread(target=source.read, args=(KEY,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= FAST.max_requests_in_flight
