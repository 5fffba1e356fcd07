"""Write workbooks as Excel and LibreOffice do, cell by cell: also those that no program writes.

A cell is a text, a number, a day (`date`, `datetime`), a bool or None; `Raw` is XML as it stands.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 -- a spreadsheet's day 0
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OF = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_ODS = "urn:oasis:names:tc:opendocument:xmlns"
_STYLES = f"""<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill/>
</fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>
<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs>
</styleSheet>"""


@dataclass(frozen=True, slots=True)
class Raw:
    """XML of a cell as it stands; `{at}` is replaced by the cell's name."""

    xml: str


Cell = str | int | float | bool | date | Raw | None
Sheet = Sequence[Sequence[Cell]]


def column(at: int) -> str:
    """Return the letters of a column from 0."""
    text = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def write_xlsx(path: Path, sheets: Mapping[str, Sheet], hidden: Sequence[str] = ()) -> Path:
    """Write an XLSX file with inline texts; return its path."""
    states = {name: ' state="hidden"' * (name in hidden) for name in sheets}
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package'
        '.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{at}.xml" '
            f'ContentType="{_TYPE}.worksheet+xml"/>'
            for at in range(1, len(sheets) + 1)
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OF}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OF}"><sheets>'
        + "".join(
            f'<sheet name="{escape(name)}" sheetId="{at}"{states[name]} r:id="s{at}"/>'
            for at, name in enumerate(sheets, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="st" Type="{_OF}/styles" Target="styles.xml"/>'
        + "".join(
            f'<Relationship Id="s{at}" Type="{_OF}/worksheet" Target="worksheets/sheet{at}.xml"/>'
            for at in range(1, len(sheets) + 1)
        )
        + "</Relationships>",
        "xl/styles.xml": _STYLES,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, xml in parts.items():
            archive.writestr(_info(name), f"<?xml version='1.0' encoding='UTF-8'?>{xml}")
        for at, rows in enumerate(sheets.values(), 1):
            with archive.open(_info(f"xl/worksheets/sheet{at}.xml"), "w") as file:
                file.write(f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
                for line, row in enumerate(rows, 1):
                    cells = "".join(
                        _xlsx_cell(f"{column(place)}{line}", cell) for place, cell in enumerate(row)
                    )
                    file.write(f'<row r="{line}">{cells}</row>'.encode())
                file.write(b"</sheetData></worksheet>")
    return path


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # a fixed time: the same cells give the same file
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _xlsx_cell(at: str, cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Raw(xml):
            return xml.replace("{at}", at)
        case bool():
            return f'<c r="{at}" t="b"><v>{int(cell)}</v></c>'
        case int() | float():
            return f'<c r="{at}"><v>{cell!r}</v></c>'
        case datetime():
            return f'<c r="{at}" s="2"><v>{_serial(cell)!r}</v></c>'
        case date():
            return f'<c r="{at}" s="1"><v>{(cell - _EPOCH.date()).days}</v></c>'
        case _:
            text = f'<t xml:space="preserve">{escape(cell)}</t>'
            return f'<c r="{at}" t="inlineStr"><is>{text}</is></c>'


def _serial(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds() / 86_400


def write_ods(path: Path, sheets: Mapping[str, Sheet]) -> Path:
    """Write an ODS file; return its path."""
    tables = "".join(
        f'<table:table table:name="{escape(name)}">'
        + "".join(
            f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows
        )
        + "</table:table>"
        for name, rows in sheets.items()
    )
    content = (
        f"<?xml version='1.0' encoding='UTF-8'?><office:document-content "
        f'xmlns:office="{_ODS}:office:1.0" xmlns:table="{_ODS}:table:1.0" '
        f'xmlns:text="{_ODS}:text:1.0" office:version="1.2"><office:body><office:spreadsheet>'
        f"{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        f'<manifest:manifest xmlns:manifest="{_ODS}:manifest:1.0"><manifest:file-entry '
        f'manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), kind)
        archive.writestr(_info("content.xml"), content)
        archive.writestr(_info("META-INF/manifest.xml"), manifest)
    return path


def _ods_cell(cell: Cell) -> str:
    match cell:
        case None:
            return "<table:table-cell/>"
        case Raw(xml):
            return xml
        case bool():
            value = f'office:value-type="boolean" office:boolean-value="{str(cell).lower()}"'
        case int() | float():
            value = f'office:value-type="float" office:value="{cell!r}"'
        case date():
            value = f'office:value-type="date" office:date-value="{cell.isoformat()}"'
        case _:
            value = 'office:value-type="string"'
    return f"<table:table-cell {value}><text:p>{escape(str(cell))}</text:p></table:table-cell>"
