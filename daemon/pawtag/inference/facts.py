"""What is known of a checkpoint without loading it."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from pawtag.domain.pictures import PixelSpec


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts of a checkpoint that an engine without its own loader needs; see ports.Engine."""

    digest: str
    weights_digest: str
    spec: PixelSpec
    scale: float
    bias: float

    def to_json(self) -> bytes:
        """The facts as a JSON document."""
        return _ADAPTER.dump_json(self, indent=1)


_ADAPTER = TypeAdapter(ModelFacts)


def parse_facts(content: bytes) -> ModelFacts | None:
    """The facts in a JSON document; None for a damaged one."""
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError:
        return None
