"""What a tool returned is spoken as a person would say it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.results import say_result

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8), parts, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("output", "spoken"),
    [
        ("It is raining in Rome.", "It is raining in Rome."),
        ('"It is raining."', "It is raining."),
        ("", "That is done."),
        ("null", "That is done."),
        ("{}", "That is done."),
        ("[]", "I found nothing."),
        ("true", "Yes."),
        ("8", "The answer is 8."),
        ('{"result": 8}', "The answer is 8."),
        ('{"sum": 8}', "The sum is 8."),
        ('{"ok": true}', "That is done."),
        ('{"status": "success"}', "That is done."),
        ('{"success": false}', "That did not work."),
        ('{"error": "no such city"}', "That did not work: no such city."),
        ('{"message": "The light is on.", "id": 4}', "The light is on."),
        (
            '{"temperature_c": 21, "condition": "sunny"}',
            "The temperature is 21 degrees Celsius and the condition is sunny.",
        ),
        (
            '{"city": "Paris", "temperature": -1, "unit": "celsius", "condition": "partly cloudy."}',
            "In Paris the temperature is minus 1 degrees Celsius and the condition is partly cloudy.",
        ),
        ('{"room": "kitchen", "state": "on"}', "In the kitchen the state is on."),
        ('{"room": "kitchen"}', "The room is kitchen."),
        ('{"is_raining": false, "humidity_pct": 40}', "It is not raining and the humidity is 40 percent."),
        ('{"door_locked": false}', "The door is not locked."),
        ('{"has_balcony": false}', "It has no balcony."),
        ('{"minutes": 1}', "It is 1 minute."),
        ('{"messages": 1, "priceUsd": 19.99}', "The number of messages is 1 and the price is 19.99 dollars."),
        ('["milk", "eggs", "bread"]', "Milk, eggs and bread."),
        ('{"items": ["milk", "eggs"]}', "The items are milk and eggs."),
        ('{"results": [{"title": "Tower of London", "url": "x"}]}', "The results are Tower of London."),
        ('[{"name": "A"}, {"name": "B"}, {"name": "C"}, {"name": "D"}]', "I found 4 results: A, B and C."),
        (
            '{"location": {"city": "Rome", "lat": 41.9}, "current": {"temp_c": 21.5, "windKph": 10}}',
            "In Rome the temperature is 21.5 degrees Celsius and the wind is 10 kilometers per hour.",
        ),
        ('{"delay": null, "speed": NaN}', "The delay is unknown and the speed is unknown."),
    ],
)
def test_results_become_sentences(output: str, spoken: str) -> None:
    assert say_result(output) == spoken


@given(value=json_values)
def test_any_json_can_be_spoken(value: object) -> None:
    assert say_result(json.dumps(value)).strip()


@given(output=st.text(max_size=80))
def test_any_text_can_be_spoken(output: str) -> None:
    assert say_result(output).strip()


def test_endless_nesting_is_not_followed() -> None:
    assert say_result('{"a":' * 400 + "1" + "}" * 400) == "That is done."
    assert say_result("[" * 100_000) == "That is done."
