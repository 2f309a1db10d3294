"""Pictures of a handshake, from the model of `nautilus_core.transcript.ladder`: as text, Mermaid, SVG and a page. Pure."""

from .html import as_html
from .mermaid import as_mermaid
from .svg import as_svg
from .text import as_text

__all__ = ["as_html", "as_mermaid", "as_svg", "as_text"]
