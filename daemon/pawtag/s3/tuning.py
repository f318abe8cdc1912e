"""Waits, attempts and page sizes of S3, as one value. Tests pass shorter ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class S3Tuning:
    """Waits and limits of the S3 modules. The defaults suit AWS."""

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    """A long poll of SQS takes 20 s."""
    client_attempts: int = 4
    """How often boto3 itself tries a request."""
    transient_delay_s: float = 5.0
    """The first wait after a fault of the store."""
    configuration_delay_s: float = 60.0
    """The wait after a fault that a person must fix: permissions, credentials, names."""
    credentials_interval_s: float = 30.0
    """Expired credentials are read again at most this often."""
    busy_delay_s: float = 5.0
    """The delay of a message about a photo that another message in flight also names."""
    rescan_s: float = 300.0
    """The pause between two resyncs of a bucket without a queue, unless s3.rescan_s is set."""
    scan_attempts: int = 5
    """How often `pawtag s3 scan` tries a photo."""
    page_keys: int = 1000
    """Keys in a page of a listing; S3 returns at most 1,000."""
    save_interval_s: float = 2.0
    """A resume point is written at most this often."""
    settle_interval_s: float = 5.0
    """The pause between two attempts while AWS propagates a change."""
    second_look_delay_s: float = 5.0
    """How long `pawtag s3 check` waits before it reads the tags of others again."""
