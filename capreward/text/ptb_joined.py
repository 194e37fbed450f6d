"""The PTB tokenizer in which, as in the original, the tokens of a caption may depend on the next caption."""

from __future__ import annotations

from capreward.text.ptb import PTBTokenizer


class JoinedPTBTokenizer(PTBTokenizer):
    """Tokenizes a list as the original does, which writes all captions into one file and looks past the end of a line.

    A caption that ends in a single letter and a dot ("a letter K.") loses the dot if the next caption starts with a
    word such as "The". Use this tokenizer to repeat a published number to the last digit. In all other cases, ``ptb``
    is the better definition, since the tokens of a caption then depend on this caption alone.
    """

    name = "ptb-joined"
    in_order = True

    def __init__(self) -> None:
        super().__init__(joined=True)
