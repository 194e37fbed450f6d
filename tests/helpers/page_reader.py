"""Pages read back, and text that must stay text in them."""

from __future__ import annotations

from html.parser import HTMLParser

TEMPLATE = "{{ 7*7 }} {% if %} {# c #} <script>'\"&amp; &"  # what a caption must not be: markup or a template


class Reader(HTMLParser):
    """Collects elements and text, and refuses elements left open."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
