"""The keys of a site's own file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fedstrata.config.section import LayerTerms, Positive, Section, Whole


class RowsSection(Section):
    """The site's own rows.

    Attributes:
        train: File, glob, or image folder.
        text: Column of texts; exclusive with ``image`` and ``question``.
        image: Column of images.
        question: Column of questions, whose right choice ``label`` names by its position.
        choices: Column of lists of choices; with ``question``.
        label: Column of labels.
        separator: What separates the columns of text files; null finds it.
        encoding: How text files are encoded; null is UTF-8, or what a byte-order mark says.
        image_folder: Folder that paths of images start from; null is that of the file that names them.
    """

    train: str
    text: str | None = None
    image: str | None = None
    question: str | None = None
    choices: str | None = None
    label: str = "label"
    separator: str | None = None
    encoding: str | None = None
    image_folder: str | None = None

    @model_validator(mode="after")
    def _one_input(self) -> RowsSection:
        if sum(name is not None for name in (self.text, self.image, self.question)) != 1:
            raise ValueError("give one input column, either 'text' or 'image', or 'question' with 'choices'")
        if (self.question is None) != (self.choices is None):
            raise ValueError("'question' and 'choices' go together; give both columns, or neither")
        return self


class ShareSection(Section):
    """The rows that a client has in a run's configuration: for trials on one machine.

    Attributes:
        config: Path of the configuration.
        client: Name of the client.
    """

    config: str
    client: str


class LimitsSection(Section):
    """What the site will not do, whatever a server asks.

    Attributes:
        refuse: Layers that it neither trains nor tells anything of, in the layer language.
        scores: Whether gradient statistics may leave.
        sketches: Whether sketches of gradients may leave, which tell more than norms; never where ``scores`` is false.
        evaluate: Whether loss and accuracy over its held-out rows may leave.
        min_rows: Rows that an update or a probe is computed from, at least.
        rounds: Updates that it sends in a run, at most; null sets no limit.
    """

    refuse: LayerTerms = Field(default_factory=list)
    scores: bool = True
    sketches: bool = False
    evaluate: bool = True
    min_rows: Whole = Field(default=1, ge=1)
    rounds: Whole | None = Field(default=None, ge=0)


class SiteSection(Section):
    """A site's own file. Paths start from its folder.

    Attributes:
        name: Name in the site's own log; null takes the name of the file's folder.
        data: Its own rows; exclusive with ``share``.
        share: The rows of a client in a run's configuration.
        model: Folder of the base model; null takes only a model that the share's configuration names or that comes
            with fedstrata, ``server`` whatever folder of this machine the server names.
        device: Where it computes.
        budget: What it can pay per round, by unit.
        limits: What it will not do.
        state: Folder of its log and its layer cache.
        cache_bytes: Most bytes of the layer cache.
        idle: Seconds without work after which its worker ends.
    """

    name: str | None = None
    data: RowsSection | None = None
    share: ShareSection | None = None
    model: str | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    budget: dict[str, int | float | str] = Field(default_factory=dict)
    limits: LimitsSection = LimitsSection()
    state: str = "state"
    cache_bytes: int | str = "4 GB"
    idle: Positive = 900.0

    @model_validator(mode="after")
    def _one_source(self) -> SiteSection:
        if (self.data is None) == (self.share is None):
            raise ValueError("give the site's rows: either 'data' or 'share'")
        return self


SECTIONS: dict[str, type[Section]] = {"data": RowsSection, "share": ShareSection, "limits": LimitsSection}
"""Sections inside a site's file."""
