from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.domain.ids import LayerName
from fedstrata.domain.layer_language import LayerSpec, parse_blocks, parse_layers, split_terms
from fedstrata.domain.layers import Layer, LayerMap, Role
from fedstrata.errors import LayerError


def block(name: str, role: Role = Role.LAYER, tied: tuple[str, ...] = ()) -> Layer:
    return Layer(LayerName(name), role, (), tied_with=tuple(LayerName(t) for t in tied))


SIX = LayerMap(
    tuple(block(f"vit.layers.{i}") for i in range(6)),
    always=(block("vit.layernorm", Role.ALWAYS), block("classifier", Role.ALWAYS)),
    never=(block("vit.embeddings", Role.NEVER),),
)
T5 = LayerMap(tuple(block(f"transformer.{s}.block.{i}") for s in ("encoder", "decoder") for i in range(2)))
TIED = LayerMap((block("h.0"), block("h.1", tied=("h.2",)), block("h.2", tied=("h.1",)), block("h.3")))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (3, {3}),
        ("3", {3}),
        (-1, {5}),
        ("-6", {0}),
        ("0-2", {0, 1, 2}),
        ("4-4", {4}),
        ("last:2", {4, 5}),
        ("first:1", {0}),
        ("top:25%", {5}),  # 1.5 rounds down
        ("top:1%", {5}),  # at least one
        ("top:50%", {3, 4, 5}),
        ("top:33.4%", {4, 5}),
        ("bottom:100%", {0, 1, 2, 3, 4, 5}),
        ("vit.layers.3", {3}),
        ("layers.3", {3}),
        ("vit.3", {3}),
        ("name:vit.layers.2", {2}),
        ("/[45]$/", {4, 5}),
        ("/layers.[0-1]{1,2}$/", {0, 1}),
        ("all", {0, 1, 2, 3, 4, 5}),
        ("none", set()),
        ([], set()),
        ("0, -1", {0, 5}),
        ([0, "last:1", "2-3"], {0, 2, 3, 5}),
    ],
)
def test_term_names_these_layers(spec: LayerSpec, expected: set[int]) -> None:
    assert parse_layers(spec, SIX) == expected


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (6, "layer 6 does not exist: the model has 6 layers, 0..5 (or -6..-1)"),
        ("-7", "layer -7 does not exist"),
        ("4-6", "layer 6 does not exist"),
        ("3-1", "write 1-3"),
        ("last:7", "asks for 7 layers"),
        ("last:0", "asks for 0 layers"),
        ("top:0%", "above 0%"),
        ("top:101%", "at most 100%"),
        ("last:two", "cannot read 'two'"),
        ("last:1.5", "cannot read '1.5'"),
        ("vit.layer.3", "did you mean 'vit.layers.3'"),
        ("/encoder/", "pattern /encoder/ matches no layer; known: vit.layers.0"),
        ("/[/", "is not a regular expression"),
        ("/(([a-z.]+)+)+!/", "matches no layer"),  # in Python's own matcher it takes minutes
        ("last:" + "9" * 400, "asks for 9999"),
        ("9" * 900, "does not exist"),
        ("1-" + "9" * 900, "does not exist"),
        ("9" * 5000, "has 5000 characters"),
        ("first:" + "9" * 5000, "has 5006 characters"),
        ([1] * 1001, "1001 terms"),
        (["/" + "a|" * 99 + "/"] * 6, "1000 characters in all"),
        ("/open", "between slashes"),
        ("", "write 'none' for no layer"),
        ("0,,1", "empty term"),
        ("0,", "empty term"),
        (True, "got True"),
        (1.5, "got 1.5"),
        ("classifier", "no layer is named 'classifier'"),
    ],
)
def test_term_that_matches_nothing_is_an_error_with_a_hint(spec: LayerSpec, words: str) -> None:
    with pytest.raises(LayerError) as caught:
        parse_layers(spec, SIX)
    assert words in str(caught.value)


def test_parts_of_a_path_choose_the_stack() -> None:
    assert parse_layers("encoder.1", T5) == {1}
    assert parse_layers("decoder.0", T5) == {2}


def test_ambiguous_name_lists_what_it_could_be() -> None:
    with pytest.raises(LayerError, match=r"'transformer.encoder.block.1', 'transformer.decoder.block.1'"):
        parse_layers("block.1", T5)


@pytest.mark.parametrize("spec", ["1", "h.1", "0-2", "first:2", "name:h.2", "/h.[12]/"])
def test_tied_layer_named_explicitly_is_refused(spec: str) -> None:
    with pytest.raises(LayerError, match="shares weights with"):
        parse_layers(spec, TIED)


@pytest.mark.parametrize("spec", ["all", "/h/", "top:100%"])
def test_description_of_many_layers_leaves_tied_ones_out(spec: str) -> None:
    assert parse_layers(spec, TIED) == {0, 3}


def test_blocks_of_every_role_can_be_named() -> None:
    assert [b.name for b in parse_blocks("embeddings, 0, classifier", SIX)] == [
        "vit.embeddings",
        "vit.layers.0",
        "classifier",
    ]
    assert parse_blocks("head", SIX) == SIX.always


def test_unknown_block_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(LayerError, match="no block is named 'clasifier'; did you mean 'classifier'"):
        parse_blocks("clasifier", SIX)


@given(st.sets(st.integers(0, 5)))
def test_list_of_indices_means_those_layers(indices: set[int]) -> None:
    assert parse_layers(sorted(indices), SIX) == indices


@given(st.lists(st.sampled_from(["0", "-1", "0-2", "last:2", "/3/", "top:25%"]), min_size=1))
def test_a_list_and_its_comma_separated_form_agree(terms: list[str]) -> None:
    assert split_terms(",".join(terms)) == terms
    assert parse_layers(",".join(terms), SIX) == parse_layers(terms, SIX)
