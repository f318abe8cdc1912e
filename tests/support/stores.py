"""Real stores other than moto's server: those that `PAWTAG_STORE_NAME=http://KEY:SECRET@HOST:PORT` names.

Each test has a bucket of its own, emptied and deleted afterwards.
"""

import contextlib
import os
import urllib.parse
import uuid
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.buckets import REGION

MOTO, MINISTACK, SEAWEEDFS, CEPH = STORE_NAMES = ("moto", "ministack", "seaweedfs", "ceph")
QUEUED = (MOTO, MINISTACK)


@pytest.fixture(params=STORE_NAMES)
def any_store(request, monkeypatch):
    """An empty bucket of a store, and clients of it."""
    name = request.param
    url = urllib.parse.urlsplit(named(request, name))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", url.username or "pawtag")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", url.password or "pawtag")
    address = f"http://{url.hostname}:{url.port}"
    s3 = client("s3", address)
    bucket = f"pets-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    sqs = client("sqs", address) if name in QUEUED else None
    yield SimpleNamespace(name=name, s3=s3, sqs=sqs, address=address, bucket=bucket)
    clear(s3, bucket)


def named(request, name: str) -> str:
    """The store's address; skips, saying why, where none is named."""
    if name == MOTO:
        return str(request.getfixturevalue("address"))
    variable = f"PAWTAG_STORE_{name.upper()}"
    if variable not in os.environ:
        pytest.skip(f"no {name} is named ({variable}=http://KEY:SECRET@HOST:PORT; ./scripts/stores.sh)")
    return os.environ[variable]


def client(service: str, address: str):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5})
    return boto3.Session().client(service, endpoint_url=address, region_name=REGION, config=config)


def clear(s3, bucket: str) -> None:
    """Delete all versions one by one, and the bucket, as far as the store lets one."""
    with contextlib.suppress(ClientError):
        found = s3.list_object_versions(Bucket=bucket)
        for entry in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        s3.delete_bucket(Bucket=bucket)
