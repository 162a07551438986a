"""What lies in a dataset and is not used: files that are not read, folders too deep, images of no role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pixelwise.data.folders import MAX_DEPTH, Folder, Listing
from pixelwise.data.pairing import bare, fold
from pixelwise.errors import DataError, LayoutError

NOT_READ = "but files of this kind are not read"
_FIRST = 3  # names that are told of each kind
# What belongs beside images and masks and is neither: text, tables, geometry, places of images, programs.
_BESIDE = {
    ".txt", ".md", ".rst", ".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".jsonl", ".xml", ".yaml", ".yml",
    ".toml", ".cfg", ".cff", ".ini", ".log", ".html", ".htm", ".pdf", ".doc", ".docx", ".bib", ".url", ".py",
    ".ipynb", ".sh", ".m", ".lock", ".md5", ".sha256", ".geojson", ".gpkg", ".fgb", ".parquet", ".kml", ".shp",
    ".shx", ".dbf", ".sbn", ".sbx", ".cpg", ".prj", ".qgs", ".qgz", ".qml", ".tfw", ".tifw", ".tiffw", ".jgw",
    ".jpgw", ".pgw", ".pngw", ".bpw", ".gfw", ".wld", ".aux", ".ovr",
}  # fmt: skip
_BESIDE_NAMES = {
    "readme", "license", "licence", "copying", "copyright", "notice", "authors", "contributing", "changelog",
    "citation", "version", "makefile", "dockerfile", "manifest", "md5sums", "sha256sums",
}  # fmt: skip


def unread(files: Iterable[Path]) -> list[Path]:
    """Those of the other files that may hold images or masks."""
    return [
        file
        for file in files
        if file.suffix.lower() not in _BESIDE and file.name.split(".")[0].lower() not in _BESIDE_NAMES
    ]


def by_suffix(files: Iterable[Path]) -> str:
    """How many files there are of each suffix."""
    return ", ".join(
        f"{len(group)} {suffix or 'without suffix'}" for suffix, group in _grouped(files).items()
    )


def passed_over(root: Path, listing: Listing, spare: Sequence[Folder]) -> LayoutError | None:
    """The warning that names unread files, folders too deep and the images of `spare` folders."""

    def shown(path: Path) -> str:
        return path.relative_to(root).as_posix()

    kinds = [
        (f"{len(group)} {suffix or 'without suffix'}", [shown(file) for file in group], group[0])
        for suffix, group in _grouped(unread(listing.others)).items()
    ]
    kinds += [
        (
            f"{len(folder.files)} images in {shown(folder.path)}/",
            [f.name for f in folder.files],
            folder.files[0],
        )
        for folder in spare
    ]
    if deep := listing.deep:
        kinds.append(
            (f"{len(deep)} folders more than {MAX_DEPTH} deep", [f"{shown(p)}/" for p in deep], deep[0])
        )
    if not kinds:
        return None
    told = "; ".join(
        f"{what} ({', '.join(names[:_FIRST])}{' ...' if len(names) > _FIRST else ''})"
        for what, names, _ in kinds
    )
    return LayoutError(
        f"passed over: {told}",
        file=kinds[0][2],
        code="passed-over",
        count=sum(len(names) for _, names, _ in kinds),
        remedy="if they belong to the dataset: save them as PNG, JPEG, TIFF, BMP, GIF or WebP with the usual suffix, "
        f"in the folders of images and masks, at most {MAX_DEPTH} folders deep; if not, move them elsewhere",
    )


def with_partners(problems: Iterable[DataError], files: Iterable[Path], root: Path) -> list[DataError]:
    """The problems, where files without a partner whose partner is there and not read say so."""
    known: dict[str, list[Path]] = {}
    for file in unread(files):
        known.setdefault(bare(file.stem), []).append(file)
    return [_with_partner(problem, known, root) for problem in problems]


def _with_partner(problem: DataError, known: dict[str, list[Path]], root: Path) -> DataError:
    file = problem.file
    if file is None or problem.code not in ("lone-image", "lone-mask"):
        return problem
    found = [
        other
        for other in known.get(bare(file.stem), [])
        if other.parent != file.parent or fold(other.stem) != fold(file.stem)
    ]
    if not found:
        return problem
    parts = set(file.parts)
    partner = max(found, key=lambda other: len(parts & set(other.parts)))
    kind = f"a {partner.suffix} file" if partner.suffix else "without suffix"
    do = (
        f"save {partner.name} as PNG or TIFF"
        if partner.suffix
        else f"give {partner.name} the suffix of its format"
    )
    return LayoutError(
        f"{problem.found}: {partner.relative_to(root).as_posix()} lies there, {kind}, {NOT_READ}",
        file=file,
        code=problem.code,
        remedy=f"{do}, or remove both",
    )


def _grouped(files: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.suffix.lower(), []).append(file)
    return dict(sorted(groups.items()))
