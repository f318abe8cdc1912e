"""The registry of outputs."""

from contextlib import closing

from pawtag.app.outputs import OutputRemoval, build_outputs
from pawtag.config import Settings
from pawtag.domain.records import PhotoRef
from pawtag.outputs.xmp.output import XmpOutput
from pawtag.state.database import StateDatabase


def test_an_output_is_built_where_the_settings_ask_for_it(tmp_path):
    """By its name; another one is left out."""
    with closing(StateDatabase(tmp_path)) as database:
        assert build_outputs(Settings(), database) == {}
        (output,) = build_outputs(Settings(sidecar={"xmp": True, "xmp_root": "animals"}), database).values()
        assert isinstance(output, XmpOutput)
        assert output.root == "animals"


async def test_what_an_output_wrote_is_taken_back_though_it_is_switched_off(tmp_path):
    """An output that this version does not know stays as it is."""
    photo, sidecar = tmp_path / "a.jpg", tmp_path / "a.jpg.xmp"
    with closing(StateDatabase(tmp_path)) as database:
        written = {"xmp": {"file": "a.jpg.xmp", "added": {"dc:subject": ["cat"]}}, "other": 1}
        sidecar.write_text(
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>cat</rdf:li>'
            "<rdf:li>mine</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
        )
        await OutputRemoval(Settings(), database).remove(PhotoRef(str(photo)), written)
    assert "<rdf:li>cat</rdf:li>" not in sidecar.read_text()
    assert "<rdf:li>mine</rdf:li>" in sidecar.read_text()
