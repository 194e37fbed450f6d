"""The PTB tokenizer with the one habit of the original that ties a caption to its neighbour."""

from __future__ import annotations

from capreward.text.ptb import PTBTokenizer


class JoinedPTBTokenizer(PTBTokenizer):
    """Tokenizes a list as the original does, which writes it into one file and looks past the end of a line.

    A caption that ends in a single letter and a dot ("a letter K.") loses the dot when the caption after it starts with
    a word such as "The". Use it to repeat a published number to the last digit; elsewhere ``ptb``, in which a caption's
    tokens depend on the caption alone, is the better definition.
    """

    name = "ptb-joined"
    in_order = True

    def __init__(self) -> None:
        super().__init__(joined=True)
