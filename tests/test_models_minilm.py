"""Sentences that mean the same lie closer than sentences that do not."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.device.skills import load_skills
from edge_client.models.minilm import MiniLM
from tests.model_files import model_store

pytestmark = pytest.mark.models

EXAMPLES = [
    "what time is it",
    "set a timer for five minutes",
    "what is twelve times seven",
    "tell me a joke",
]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    store = model_store()
    return MiniLM(store.path("embedder"), store.path("embedder_vocabulary"))


def test_paraphrases_find_their_example(model: MiniLM) -> None:
    asked = [
        "Could you tell me the time, please?",
        "Start a countdown of ten minutes.",
        "Multiply 8 by 9.",
        "Say something funny!",
    ]
    likeness = model.embed(asked) @ model.embed(EXAMPLES).T
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert likeness.diagonal().min() > 0.3


def test_what_is_foreign_to_all_examples_is_far_from_them(model: MiniLM) -> None:
    asked = ["the river flooded the old town", "my sister plays the violin"]
    assert (model.embed(asked) @ model.embed(EXAMPLES).T).max() < 0.25


def test_vectors_have_unit_length_and_do_not_depend_on_their_neighbours(model: MiniLM) -> None:
    together = model.embed([*EXAMPLES, "", "?", "word " * 400])
    assert together.shape == (7, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(together[1], model.embed([EXAMPLES[1]])[0])


def test_vectors_are_the_same_to_the_last_bit_in_whatever_company_they_are_made(model: MiniLM) -> None:
    texts = load_skills().examples[:40]
    alone = np.concatenate([model.embed([text]) for text in texts])
    np.testing.assert_array_equal(model.embed(texts), alone)


def test_no_texts_give_no_vectors(model: MiniLM) -> None:
    assert model.embed([]).shape == (0, 384)
