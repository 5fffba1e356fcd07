"""Objects in S3, and in compatible stores, by AWS' own client."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import botocore.session
from botocore import exceptions as wrong
from botocore.config import Config

from stream import __version__
from stream.core.model.errors import FeedDown, FeedFault
from stream.ops.remote.remote_files import (
    PIECE,
    Login,
    RemoteAddress,
    RemoteFile,
    S3Access,
    changed,
    check_count,
    is_wanted,
    missing,
)

_CONNECT_S: Final = 15.0
_ATTEMPTS: Final = 3
"""Requests until a fault counts; the client waits between them, longer each time."""
_FAULTS: Final = {
    "NoSuchBucket": (FeedFault.MISSING, "the bucket does not exist"),
    "AccessDenied": (FeedFault.UNAUTHORISED, "look at the policy: it needs GetObject, ListBucket"),
    "AllAccessDisabled": (FeedFault.UNAUTHORISED, "its owner has closed it"),
    "ExpiredToken": (FeedFault.UNAUTHORISED, "the session token has expired"),
    "InvalidAccessKeyId": (FeedFault.UNAUTHORISED, "the access key is not known there"),
    "InvalidToken": (FeedFault.UNAUTHORISED, "the session token is not valid there"),
    "SignatureDoesNotMatch": (FeedFault.UNAUTHORISED, "the secret key is wrong"),
    "RequestTimeTooSkewed": (FeedFault.CLOCK, "set this machine's clock"),
    "AuthorizationHeaderMalformed": (FeedFault.REDIRECTED, "set the bucket's region"),
    "PermanentRedirect": (FeedFault.REDIRECTED, "set the bucket's region, or its endpoint"),
}


class S3Files:
    """The object or the prefix of `address`. See RemoteFiles."""

    settles = False

    def __init__(self, address: RemoteAddress, access: S3Access, login: Login) -> None:
        self._address, self._origin = address, str(address)
        with _named_faults(self._origin):
            self._client = _client(access, login)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def listed(self) -> Iterator[RemoteFile]:
        """Yield the objects, from as many pages as there are."""
        with _named_faults(self._origin):
            if self._address.is_folder:
                yield from self._below()
            else:
                bucket, key = self._address.host, self._address.path
                head = self._client.head_object(Bucket=bucket, Key=key)
                name = key.rpartition("/")[2]
                yield _file(name, key, head, head["ContentLength"])

    def _below(self) -> Iterator[RemoteFile]:
        pages = self._client.get_paginator("list_objects_v2")
        prefix, count = self._address.path, 0
        for page in pages.paginate(Bucket=self._address.host, Prefix=prefix):
            count += len(page.get("Contents", ()))
            check_count(count, self._origin)
            for one in page.get("Contents", ()):
                name = one["Key"][len(prefix) :]
                if one["Size"] and is_wanted(name):
                    yield _file(name, one["Key"], one, one["Size"])

    def pieces(self, file: RemoteFile, at: int = 0) -> Generator[bytes]:
        """Yield the bytes of an object. `If-Match` holds it to the one that was listed."""
        if at >= file.size:
            return
        ranged = {"Range": f"bytes={at}-"} if at else {}
        origin = f"s3://{self._address.host}/{file.name}"
        with _named_faults(origin):
            answer = self._client.get_object(
                Bucket=self._address.host,
                Key=file.path,
                IfMatch=file.mark.rpartition(":")[0],
                **ranged,
            )
            with closing(answer["Body"]) as body:
                if at and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
                    text = f"{origin}: the server sends no part of an object, but all of it"
                    raise FeedDown(FeedFault.PROTOCOL, text)
                while piece := body.read(PIECE):
                    yield piece


def _file(name: str, key: str, about: Any, size: int) -> RemoteFile:
    # Not the time: the same bytes put there again are the same file.
    mark = f"{about['ETag']}:{size}"
    shown = name.encode("utf-8", "backslashreplace").decode()
    return RemoteFile(shown, key, size, mark, about["LastModified"].timestamp())


def _client(access: S3Access, login: Login) -> Any:
    # At DEBUG it would log every request with its signature.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    unsigned: dict[str, Any] = {"signature_version": botocore.UNSIGNED} if access.anonymous else {}
    config = Config(  # type: ignore[no-untyped-call]
        connect_timeout=min(_CONNECT_S, access.answer_s),
        read_timeout=access.answer_s,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "path" if access.path_style else "auto"},
        user_agent_extra=f"ringfence/{__version__}",
        # Stores compatible with S3 often do not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **unsigned,
    )
    session: Any = botocore.session
    return session.Session().create_client(
        "s3",
        region_name=access.region or None,
        endpoint_url=access.endpoint or None,
        aws_access_key_id=login.user or None,
        aws_secret_access_key=login.secret or None,
        verify=access.ca_file or None,
        config=config,
    )


@contextmanager
def _named_faults(origin: str) -> Iterator[None]:
    """Rename botocore's exceptions. Their texts may hold keys and a whole request: none is kept."""
    try:
        yield
    except wrong.ClientError as error:
        raise _of_answer(origin, error.response) from None
    except (wrong.NoCredentialsError, wrong.PartialCredentialsError):
        text = f"{origin}: no credentials: name them, give this machine a role, or set anonymous"
        raise FeedDown(FeedFault.UNAUTHORISED, text) from None
    except wrong.SSLError:
        text = f"{origin}: the server's certificate is refused: look at endpoint and ca_file"
        raise FeedDown(FeedFault.CERTIFICATE, text) from None
    except (wrong.ConnectTimeoutError, wrong.ReadTimeoutError):
        text = f"{origin} was silent for too long (answer_s)"
        raise FeedDown(FeedFault.TIMEOUT, text) from None
    except (wrong.ResponseStreamingError, wrong.IncompleteReadError):
        raise FeedDown(FeedFault.TRUNCATED, f"{origin} broke off before its end") from None
    except (wrong.ConnectionError, wrong.HTTPClientError) as error:
        text = f"{origin}: the server cannot be reached ({type(error).__name__})"
        raise FeedDown(FeedFault.DOWN, text) from None
    except (wrong.BotoCoreError, ValueError, KeyError) as error:
        text = f"{origin} does not answer as S3 does ({type(error).__name__})"
        raise FeedDown(FeedFault.PROTOCOL, text) from None


def _of_answer(origin: str, answer: Any) -> FeedDown:
    code = str(answer.get("Error", {}).get("Code", ""))[:60]
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _FAULTS:
        fault, hint = _FAULTS[code]
        return FeedDown(fault, f"{origin}: {code}: {hint}")
    if code in {"NoSuchKey", "404"} or status == 404:
        return missing(origin)
    if status == 412:
        return changed(origin)
    if status in {401, 403}:  # the answer to HEAD has no body, and so no code
        text = f"{origin}: the server answers {status}: look at the keys and the bucket's policy"
        return FeedDown(FeedFault.UNAUTHORISED, text)
    fault = FeedFault.REFUSED_BY_SERVER if 400 <= status < 500 else FeedFault.DOWN
    return FeedDown(fault, f"{origin}: the server answers {status} {code}".rstrip())
