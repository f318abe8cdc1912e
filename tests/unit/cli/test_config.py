"""`pawtag config`: the schema of a record."""

import json

from pawtag.cli.config import build_record_schema
from support.paths import ROOT


def test_the_schema_in_docs_is_current():
    """docs/record.schema.json is what `pawtag config schema --record` prints."""
    assert json.loads((ROOT / "docs/record.schema.json").read_text()) == build_record_schema()
