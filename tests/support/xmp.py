"""XMP sidecars in the forms that photo apps write, made here after their documentation."""

import re

from lxml import etree

from pawtag.outputs.xmp.keywords import FIELDS
from pawtag.outputs.xmp.packet import Packet

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
# exiftool, which Immich uses: a declaration, single quotes, one description for each namespace.
IMMICH = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.57'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>

 <rdf:Description rdf:about=''
  xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:description>
   <rdf:Alt>
    <rdf:li xml:lang='x-default'>on the sofa &amp; asleep</rdf:li>
   </rdf:Alt>
  </dc:description>
 </rdf:Description>

 <rdf:Description rdf:about=''
  xmlns:digiKam='http://www.digikam.org/ns/1.0/'>
  <digiKam:TagsList>
   <rdf:Seq>
    <rdf:li>Family/Anna</rdf:li>
    <rdf:li>holiday</rdf:li>
   </rdf:Seq>
  </digiKam:TagsList>
 </rdf:Description>

 <rdf:Description rdf:about=''
  xmlns:xmp='http://ns.adobe.com/xap/1.0/'>
  <xmp:Rating>4</xmp:Rating>
 </rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end='w'?>"""
# exiv2, which digiKam uses: a declaration, properties as attributes, several fields in one description.
DIGIKAM = f"""<?xml version="1.0" encoding="UTF-8"?>
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    {DC}
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
   digiKam:ColorLabel="2" xmp:Rating="3">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>People/Ben</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Ben</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>People|Ben</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <MicrosoftPhoto:LastKeywordXMP>
    <rdf:Bag>
     <rdf:li>People/Ben</rdf:li>
    </rdf:Bag>
   </MicrosoftPhoto:LastKeywordXMP>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
# darktable: a history of edits as nested resources, no TagsList.
DARKTABLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    {DC}
   exif:DateTimeOriginal="2026:05:01 10:00:00"
   darktable:xmp_version="5"
   darktable:auto_presets_applied="1">
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="flip"
      darktable:params="ffffffff"/>
    </rdf:Seq>
   </darktable:history>
   <!-- written by hand -->
   <dc:subject>
    <rdf:Bag>
     <rdf:li>garden</rdf:li>
    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
# Lightroom: nested descriptions in xmpMM:Pantry, which describe other photos.
LIGHTROOM = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    {DC}
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
   dc:format="image/jpeg">
   <xmpMM:Pantry>
    <rdf:Bag>
     <rdf:li>
      <rdf:Description xmpMM:InstanceID="xmp.iid:1">
       <dc:subject><rdf:Bag><rdf:li>cat</rdf:li></rdf:Bag></dc:subject>
      </rdf:Description>
     </rdf:li>
    </rdf:Bag>
   </xmpMM:Pantry>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>Trips|2026</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
ALL = {"immich": IMMICH, "digikam": DIGIKAM, "darktable": DARKTABLE, "lightroom": LIGHTROOM}


def read_words(content: str | bytes) -> dict[str, list[str]]:
    """The keywords of each field that the document has."""
    packet = Packet(content.encode() if isinstance(content, str) else content)
    found = {str(item): packet.read(item) for item in FIELDS}
    return {name: list(words) for name, words in found.items() if words is not None}


def canonical(content: str | bytes) -> bytes:
    """The document without differences that mean nothing: white space between elements, order of attributes."""
    parser = etree.XMLParser(remove_blank_text=True)
    root = etree.fromstring(content.encode() if isinstance(content, str) else content, parser)
    text = etree.tostring(root, method="c14n")
    return re.sub(rb">\s+<", b"><", text)
