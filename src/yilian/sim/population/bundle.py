"""A chart as a FHIR R4 transaction Bundle, whose references a server must resolve."""

from typing import Any

from yilian.sim.population.person import Person


def _pointing(value: object, known: dict[str, str]) -> object:
    if isinstance(value, dict):
        return {
            name: known.get(part, part) if name == "reference" and isinstance(part, str) else _pointing(part, known)
            for name, part in value.items()
        }
    return [_pointing(part, known) for part in value] if isinstance(value, list) else value


def chart_bundle(person: Person, member_id: str) -> dict[str, Any]:
    """Return a transaction that creates the chart: `urn:uuid` references, POST, no ids (the server gives them).

    KeyError if the person has no chart there. The same person gives the same bundle.
    """
    chart = person.charts[member_id]
    known = {f"{resource['resourceType']}/{resource['id']}": f"urn:uuid:{resource['id']}" for resource in chart}
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{resource['id']}",
                "resource": {name: _pointing(part, known) for name, part in resource.items() if name != "id"},
                "request": {"method": "POST", "url": resource["resourceType"]},
            }
            for resource in chart
        ],
    }
