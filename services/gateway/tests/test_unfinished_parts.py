"""Parts left in a bucket: which are removed, and what a store may answer; requests are signed as Amazon says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from common.clock import rfc3339, utc_now
from common.errors import Transient
from gateway.app import unfinished_parts
from gateway.clients.object_store import ObjectStore
from gateway.clients.s3_requests import S3Access, signed_headers
from gateway.clients.unfinished_parts import PAGES_AT_MOST, UnfinishedParts
from gateway.loops import stale_uploads_loop

ACCESS = S3Access("key", SecretStr("secret"), "garage", "http://storage:3900/")
DAY = timedelta(hours=24)
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ({"prefix": "J", "max-keys": "2"}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_amazons_own_examples_of_signatures(query: dict[str, str], signature: str) -> None:
    """docs.aws.amazon.com, Authenticating Requests: Using the Authorization Header."""
    access = S3Access("AKIAIOSFODNN7EXAMPLE", SecretStr("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1")
    at = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers(access, "GET", "https://examplebucket.s3.amazonaws.com/", query, now=at)
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert access.address == "https://s3.us-east-1.amazonaws.com"


def test_a_passing_key_goes_with_its_token() -> None:
    access = S3Access("key", SecretStr("secret"), "r", session_token=SecretStr("a-token"))
    headers = signed_headers(access, "GET", "https://s3.example.com/b", {}, now=utc_now())
    assert headers["x-amz-security-token"] == "a-token"
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in headers["authorization"]


def parts(answer: Answer, url: str = "s3://bucket/some/prefix/") -> UnfinishedParts:
    return UnfinishedParts(url, ACCESS, transport=httpx.MockTransport(answer))


def page(
    *uploads: tuple[str, timedelta], more: bool = False, namespace: str = "http://s3.amazonaws.com/doc/2006-03-01/"
) -> str:
    listed = "".join(
        f"<Upload><Key>{key}</Key><UploadId>id-{key}</UploadId><Initiated>{rfc3339(utc_now() - age)}</Initiated></Upload>"
        for key, age in uploads
    )
    markers = "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>" if more else ""
    end = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    return f'<ListMultipartUploadsResult xmlns="{namespace}">{end}{markers}{listed}</ListMultipartUploadsResult>'


async def test_old_ones_are_removed_and_young_ones_left_page_by_page() -> None:
    pages = [page(("a", 2 * DAY), ("b", DAY / 2), more=True), page(("c", 3 * DAY))]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.raw_path.decode()}")
        if request.method == "DELETE":
            return httpx.Response(204 if "id-a" in str(request.url) else 404)
        return httpx.Response(200, text=pages.pop(0))

    assert await parts(answer).sweep(["uploads/tmp"], older_than=DAY) == 2
    assert asked == [
        "GET /bucket?prefix=some%2Fprefix%2Fuploads%2Ftmp%2F&uploads=",
        "GET /bucket?key-marker=k&prefix=some%2Fprefix%2Fuploads%2Ftmp%2F&upload-id-marker=u&uploads=",
        "DELETE /bucket/a?uploadId=id-a",
        "DELETE /bucket/c?uploadId=id-c",
    ]


async def test_a_store_without_names_of_spaces_and_a_bucket_without_a_prefix() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("prefix", ""))
        return httpx.Response(200, text=page(namespace=""))

    assert await parts(answer, "s3://bucket").sweep(["uploads/tmp", "fetched"], older_than=DAY) == 0
    assert asked == ["uploads/tmp/", "fetched/"]


async def test_a_listing_without_end_is_left_for_later() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, text=page(("a", timedelta()), more=True))

    assert await parts(answer).sweep(["x"], older_than=DAY) == 0
    assert len(asked) == PAGES_AT_MOST


@pytest.mark.parametrize("text", ["no xml", "<a><Upload><Initiated>yesterday</Initiated></Upload></a>"])
async def test_what_cannot_be_understood_is_trouble(text: str) -> None:
    with pytest.raises(Transient):
        await parts(lambda _: httpx.Response(200, text=text)).sweep(["x"], older_than=DAY)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_store_that_refuses_or_is_away_is_trouble(method: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403 if request.method == method else 200, text=page(("a", 2 * DAY)))

    def break_off(request: httpx.Request) -> httpx.Response:
        if request.method == method:
            raise httpx.ConnectError("away", request=request)
        return httpx.Response(200, text=page(("a", 2 * DAY)))

    for answer in (refuse, break_off):
        with pytest.raises(Transient):
            await parts(answer).sweep(["x"], older_than=DAY)


async def test_the_loop_of_stale_uploads_looks_for_them(tmp_path: Path) -> None:
    prefixes: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        prefixes.append(request.url.params["prefix"])
        return httpx.Response(200, text=page())

    loop = stale_uploads_loop(ObjectStore(f"file://{tmp_path}"), parts(answer, "s3://bucket"))
    assert (await loop._step()).done == 0
    assert prefixes == ["uploads/tmp/", "fetched/"]


def test_a_gateway_looks_into_a_bucket_of_which_it_has_the_key(make_settings: Any) -> None:
    key = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    assert unfinished_parts(make_settings()) is None
    assert unfinished_parts(make_settings(storage_url="s3://bucket")) is None
    assert unfinished_parts(make_settings(storage_url="s3://bucket", **key)) is not None
