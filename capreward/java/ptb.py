"""The original Java tokenizer of the COCO evaluation, by which the native tokenizer is tested."""

from __future__ import annotations

import re
from collections.abc import Sequence

from capreward.errors import InputError
from capreward.java.originals import original_file
from capreward.java.process import JavaError, JavaProcess
from capreward.java.runtime import Java

# The program was given every character of the basic plane: these characters, and no others, start a new line.
_LINE_BREAKS = re.compile("[\n\r\x0b\x0c\u2028\u2029]")

# The list of the original. It has brackets in upper case, but the text is in lower case, so brackets ("-lrb-") stay and
# are part of the scores.
_REMOVED = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)


class PTBJavaTokenizer:
    """Runs the PTBTokenizer of Stanford CoreNLP 3.4.1 as pycocoevalcap does: lower-cased, with punctuation removed.

    It differs in two points, neither of which concerns an ordinary caption: characters that the program takes for a
    line break become a space (the original shifts every later caption by one and loses the last), and a wrong number of
    lines is an error (the original cuts silently).

    Args:
        timeout: The seconds for one call.
        java: The Java runtime; None finds one at each call.

    Raises:
        InputError: If there is no Java or no pycocoevalcap when the tokenizer is called.
    """

    name = "ptb-java"
    in_order = True  # the program looks past the end of a line

    def __init__(self, timeout: float = 600.0, java: Java | None = None) -> None:
        self.timeout = timeout
        self.java = java

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize captions.

        Args:
            captions: The N captions.

        Returns:
            N strings of lower-cased tokens, joined by single spaces.

        Raises:
            InputError: If a caption is not valid Unicode (half of a surrogate pair).
            JavaError: If the program fails or loses lines.
        """
        if not captions:
            return []
        text = "\n".join(_LINE_BREAKS.sub(" ", caption) for caption in captions)
        arguments = ["-cp", str(original_file("tokenizer", "stanford-corenlp-3.4.1.jar"))]
        arguments += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", "captions.txt"]
        with JavaProcess(arguments, name="The PTB tokenizer", java=self.java, timeout=self.timeout) as process:
            (process.folder / "captions.txt").write_bytes(_encode(text))
            lines = process.run().split("\n")
        if len(lines) != len(captions):
            raise JavaError(f"The PTB tokenizer gave {len(lines)} lines for {len(captions)} captions.")
        return [_drop_punctuation(line) for line in lines]


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        number = text.count("\n", 0, error.start) + 1
        raise InputError(
            f"caption {number} is not valid Unicode ({text[error.start]!r}); save the captions as UTF-8 again."
        ) from error


def _drop_punctuation(line: str) -> str:
    return " ".join(token for token in line.rstrip().split(" ") if token not in _REMOVED)
