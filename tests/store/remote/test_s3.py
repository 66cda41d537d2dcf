"""A store in a bucket of a real S3 server (moto) on this machine."""

from __future__ import annotations

import numpy as np
import pytest

from keybed import store
from keybed.store.errors import Incomplete, NotAStore
from keybed.store.remote.address import RemoteUnreachable


@pytest.fixture(scope="module")
def bucket():
    """(client, name) of an empty bucket; the server's address is in AWS_ENDPOINT_URL."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
        client.create_bucket(Bucket="team")
        yield client, "team"
    server.stop()


def upload(bucket, folder, prefix, leave_out=()):
    client, name = bucket
    for file in sorted(folder.rglob("*")):
        key = file.relative_to(folder).as_posix()
        if file.is_file() and not key.startswith(leave_out):
            client.put_object(Bucket=name, Key=f"{prefix}/{key}", Body=file.read_bytes())


def test_a_store_in_a_bucket_reads_as_the_local_one(bucket, whole_store, cache):
    upload(bucket, whole_store.path, "stores/one", leave_out=("claims", "logs", "places.json"))
    remote = store.open("s3://team/stores/one")
    np.testing.assert_array_equal(remote.rows().score, whole_store.rows().score)
    index = np.arange(0, 150, 7)
    for feature in whole_store.features:
        np.testing.assert_array_equal(remote.read(feature, index), whole_store.read(feature, index))
    assert remote.machine_paths == {}


def test_a_store_half_filled_says_so(bucket, whole_store, cache):
    upload(bucket, whole_store.path, "half", leave_out=("commits/000001.json",))
    remote = store.open("s3://team/half")
    with pytest.raises(Incomplete, match=r"s3://team/half: 1 of .* not published"):
        remote.rows()
    assert len(remote.rows(allow_missing=True)) < len(whole_store.rows())


def test_no_store_and_no_bucket_are_named(bucket, cache):
    with pytest.raises(NotAStore, match="s3://team/nothing is no store"):
        store.open("s3://team/nothing")
    with pytest.raises((RemoteUnreachable, NotAStore), match="s3://other"):
        store.open("s3://other/store")
