"""What the errors of a store mean, and what to do about them."""

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from pawtag.domain.errors import GoneError, MisconfigurationError, PawtagError, PermanentError, TemporaryError
from pawtag.domain.records import OBJECT_SCHEME
from pawtag.s3.tuning import S3Tuning

# 405 is a delete marker. A plain 404 is not included: a proxy sends it while the store behind it is unavailable.
OBJECT_NOT_FOUND = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
HEAD_NOT_FOUND = "404"  # an answer to HEAD has no body, and so no code
RESOURCE_NOT_FOUND = frozenset({"NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
ACCESS_DENIED_CODES = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden", "AccessDeniedException"})
EXPIRED_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
INVALID_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
# An answer to HEAD has no body: the secret may be wrong, or access may be denied.
UNEXPLAINED_REFUSAL = "403"
KMS_PREFIXES = ("KMS.", "Kms")
CLOCK_SKEW = frozenset({"RequestTimeTooSkewed"})
NOT_SUPPORTED = frozenset({"405", "501", "MethodNotAllowed", "NotImplemented", "UnknownOperationException"})
ARCHIVED_REASON = "archived"
ARCHIVED, CUSTOMER_ENCRYPTED = "InvalidObjectState", frozenset({"InvalidRequest", "400"})
# Calls whose permission in IAM has another name.
PERMISSIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "GetObjectTagging": "s3:GetObjectTagging (of a versioned bucket s3:GetObjectVersionTagging)",
    "PutObjectTagging": "s3:PutObjectTagging (of a versioned bucket s3:PutObjectVersionTagging)",
    "DeleteObjectTagging": "s3:DeleteObjectTagging (of a versioned bucket s3:DeleteObjectVersionTagging)",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "SendMessageBatch": "sqs:SendMessage",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
}
# The service of a call, by a part of its name; all others are calls of S3.
SERVICES = {"Queue": "sqs", "Message": "sqs", "Rule": "events", "Targets": "events", "Topic": "sns"}


def translate_error(error: ClientError, what: str, tuning: S3Tuning) -> PawtagError:
    """Pawtag's error for one of botocore's; `what` names the bucket or queue."""
    code, operation = read_error_code(error), error.operation_name
    if code in OBJECT_NOT_FOUND:
        return GoneError(f"{what} is gone ({code}).")
    if code == ARCHIVED:
        return GoneError(f"{what} is archived; pawtag tags it when it is restored.", ARCHIVED_REASON)
    if operation == "GetObject" and code in CUSTOMER_ENCRYPTED:
        return PermanentError("unreadable", "The object is encrypted with a customer-provided key.")
    if advice := _describe_misconfiguration(error, what):
        return MisconfigurationError(advice, tuning.configuration_delay_s)
    return TemporaryError(f"{what}: {operation}: {code}.", tuning.transient_delay_s)


def name_bucket(what: str) -> str:
    """The bucket instead of an object, so that the log reports a fault of the bucket only once."""
    return f"An object in {'/'.join(what.split('/')[:3])}" if what.startswith(OBJECT_SCHEME) else what


def _describe_misconfiguration(error: ClientError, what: str) -> str | None:
    """What is wrong, and what to do, where a person must fix it; None for any other fault."""
    code, operation = read_error_code(error), error.operation_name
    kms_action = "kms:GenerateDataKey" if operation.startswith(("Put", "Send")) else "kms:Decrypt"
    for applies, advice in (
        (
            code in RESOURCE_NOT_FOUND or is_missing_bucket(error),
            f"{what}: no such bucket or queue ({code}).",
        ),
        (
            code == UNEXPLAINED_REFUSAL,
            f"{what}: access is denied; check the key and its secret, or grant {find_required_permission(error)}.",
        ),
        (code in ACCESS_DENIED_CODES, f"{what}: access is denied; grant {find_required_permission(error)}."),
        (
            code.startswith(KMS_PREFIXES),
            f"{what}: its KMS key cannot be used ({code}); grant {kms_action} or enable the key.",
        ),
        (
            code in EXPIRED_CREDENTIALS,
            f"The AWS credentials have expired ({code}); renew them, pawtag reads them again.",
        ),
        (code in INVALID_CREDENTIALS, f"The AWS credentials are not accepted ({code}); check the key and its secret."),
        (code in CLOCK_SKEW, f"The clock of this machine is wrong ({code}); set it."),
    ):
        if applies:
            return advice
    return None


def is_missing_bucket(error: ClientError) -> bool:
    """Whether a HeadBucket found no bucket."""
    return error.operation_name == "HeadBucket" and read_error_code(error) == HEAD_NOT_FOUND


def is_unsupported(error: PawtagError) -> bool:
    """Whether the store does not offer that service: a store without queues, or without topics."""
    cause = error.__cause__
    is_refusal = isinstance(cause, ClientError) and read_error_code(cause) in NOT_SUPPORTED
    return is_refusal or isinstance(cause, ResponseParserError)


def has_code(error: PawtagError, codes: frozenset[str]) -> bool:
    """Whether the store's answer behind the error has one of these codes."""
    return isinstance(error.__cause__, ClientError) and read_error_code(error.__cause__) in codes


def find_required_permission(error: ClientError) -> str:
    """The IAM permission that a denied call needs."""
    operation = error.operation_name
    service = next((service for part, service in SERVICES.items() if part in operation), "s3")
    name = PERMISSIONS.get(operation, f"{service}:{operation}")
    if operation == "PutObject":
        return f"{name}, and kms:GenerateDataKey if a key of yours encrypts the bucket"
    may_be_kms = "kms" in str(error).lower() or operation == "GetObject"
    return f"{name}, and kms:Decrypt if a key of yours encrypts the bucket" if may_be_kms else name


def read_error_code(error: ClientError) -> str:
    """S3's code for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))
