"""Versions: who holds which weights, by content."""

from __future__ import annotations

import pytest

from fedstrata.domain.ids import ClientId, LayerName, TensorName
from fedstrata.domain.layers import Layer, LayerMap, Role, TensorSpec
from fedstrata.domain.versions import Manifest, Versions, base_of

A, B = ClientId("a"), ClientId("b")
H0, H1, HEAD = LayerName("h.0"), LayerName("h.1"), LayerName("head")
START: Manifest = {H0: "x", H1: "y", HEAD: "z"}


def one(name: LayerName, role: Role, elements: int) -> Layer:
    return Layer(name, role, (TensorSpec(TensorName(f"{name}.w"), (elements,)),))


LAYERS = LayerMap((one(H0, Role.LAYER, 1), one(H1, Role.LAYER, 10)), (one(HEAD, Role.ALWAYS, 100),))


def new() -> Versions:
    return Versions.at(START, always=[HEAD])


def missing(versions: Versions, client: ClientId) -> list[LayerName]:
    return [block.name for block in versions.missing(client, LAYERS)]


def test_a_new_client_lacks_the_head_alone() -> None:
    assert missing(new(), A) == [HEAD]
    assert new().bytes_down(A, LAYERS) == 400


def test_a_client_that_was_sent_everything_lacks_nothing() -> None:
    versions = new().sent([A])
    assert missing(versions, A) == []
    assert missing(versions, B) == [HEAD]


def test_a_client_lacks_what_changed_since_it_was_sent_something() -> None:
    versions = new().sent([A]).moved({H1: "y2"})
    assert missing(versions, A) == [H1]
    assert versions.bytes_down(A, LAYERS) == 40


def test_changes_add_up_while_a_client_is_away() -> None:
    versions = new().sent([A]).moved({H1: "y2"}).sent([B]).moved({H0: "x2", HEAD: "z2"})
    assert missing(versions, A) == [H0, H1, HEAD]
    assert missing(versions, B) == [H0, HEAD]


def test_a_block_that_changed_back_is_not_sent_again() -> None:
    versions = new().sent([A]).moved({H0: "x2"}).moved({H0: "x"})
    assert missing(versions, A) == []


def test_a_new_client_is_not_sent_a_block_that_is_as_in_the_checkpoint() -> None:
    versions = new().moved({H0: "x2"}).moved({H0: "x"})
    assert missing(versions, B) == [HEAD]


def test_the_base_names_the_content_and_not_the_way_to_it() -> None:
    assert new().moved({H0: "x2"}).moved({H1: "y2"}).base == base_of({**START, H0: "x2", H1: "y2"})
    assert new().moved({H0: "x2"}).moved({H0: "x"}).base == new().base


@pytest.mark.parametrize("other", [{H0: "y", H1: "x", HEAD: "z"}, {H0: "x", H1: "y"}, {**START, LayerName("h.2"): ""}])
def test_other_content_has_another_base(other: Manifest) -> None:
    assert base_of(other) != base_of(START)


def test_bases_that_no_client_holds_any_more_are_forgotten() -> None:
    """Memory is one manifest per base in use, however many rounds there were."""
    versions = new()
    for i in range(50):
        versions = versions.moved({H0: str(i)}).sent([A, B])
    assert list(versions.known) == [versions.base]
    versions = versions.moved({H0: "last"}).sent([A])
    assert len(versions.known) == 2


def test_clients_that_were_sent_the_same_share_a_manifest() -> None:
    versions = new().sent([A]).sent([B])
    assert versions.seen == {A: versions.base, B: versions.base}
    assert versions.known == {versions.base: START}


def test_nothing_is_changed_in_place() -> None:
    before = new()
    before.sent([A]).moved({H0: "x2"})
    assert before == new()
