"""The colours: calm blue-greys, one accent, and nothing that only a colour says."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="mixmail",
    primary="#7cb7c4",
    secondary="#9aa3b2",
    accent="#e0b46c",
    warning="#e0b46c",
    error="#e08585",
    success="#93c29a",
    foreground="#d9dde3",
    background="#121417",
    surface="#1a1d21",
    panel="#282c32",
    dark=True,
    variables={
        "footer-background": "#1a1d21",
        "footer-key-foreground": "#7cb7c4",
        "footer-description-foreground": "#9aa3b2",
        "input-selection-background": "#7cb7c4 35%",
        "border": "#41464e",
        "border-blurred": "#282c32",
    },
)

LIGHT = Theme(
    name="mixmail-light",
    primary="#246b7d",
    secondary="#4f5d78",
    accent="#96640c",
    warning="#96640c",
    error="#b03434",
    success="#2c7439",
    foreground="#20252e",
    background="#fafbfc",
    surface="#f0f2f5",
    panel="#dfe4ea",
    dark=False,
    variables={
        "footer-background": "#f0f2f5",
        "footer-key-foreground": "#246b7d",
        "footer-description-foreground": "#4f5d78",
        "border": "#bcc5d1",
        "border-blurred": "#dfe4ea",
    },
)
