"""The tokens as a Gradio theme object, so that Gradio's own parts wear the same colours as ours."""

from __future__ import annotations

import gradio as gr

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
         "Microsoft YaHei", "sans-serif"]  # fmt: skip
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "Noto Sans Mono CJK SC", "monospace"]

# Gradio variable → role. The roles are custom properties that already switch between light and dark.
COLOURS = {
    "body_background_fill": "page", "body_text_color": "text", "body_text_color_subdued": "quiet",
    "background_fill_primary": "surface", "background_fill_secondary": "raised",
    "border_color_primary": "line", "border_color_accent": "accent", "border_color_accent_subdued": "line",
    "color_accent": "accent", "color_accent_soft": "raised",
    "link_text_color": "accent-text", "link_text_color_hover": "accent-text",
    "link_text_color_active": "accent-text", "link_text_color_visited": "accent-text",
    "code_background_fill": "raised",
    "block_background_fill": "surface", "block_border_color": "line", "block_info_text_color": "quiet",
    "block_label_text_color": "quiet", "block_title_text_color": "text", "accordion_text_color": "text",
    "panel_background_fill": "surface", "panel_border_color": "line",
    "input_background_fill": "surface", "input_background_fill_focus": "surface",
    "input_border_color": "edge", "input_border_color_focus": "accent", "input_placeholder_color": "quiet",
    "checkbox_background_color": "surface", "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "edge", "checkbox_border_color_focus": "accent",
    "checkbox_border_color_hover": "accent", "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "surface", "checkbox_label_background_fill_hover": "raised",
    "checkbox_label_background_fill_selected": "raised", "checkbox_label_border_color": "edge",
    "checkbox_label_text_color": "text", "checkbox_label_text_color_selected": "text",
    "button_primary_background_fill": "accent", "button_primary_background_fill_hover": "accent-hover",
    "button_primary_border_color": "accent", "button_primary_text_color": "on-accent",
    "button_primary_text_color_hover": "on-accent",
    "button_secondary_background_fill": "surface", "button_secondary_background_fill_hover": "raised",
    "button_secondary_border_color": "edge", "button_secondary_text_color": "text",
    "button_secondary_text_color_hover": "text",
    "error_background_fill": "surface", "error_border_color": "bad", "error_text_color": "bad",
    "error_icon_color": "bad",
    "loader_color": "accent", "slider_color": "accent",
}  # fmt: skip


def theme() -> gr.themes.Base:
    """The Studio's theme: system fonts only, nothing loaded from outside."""
    base = gr.themes.Base(font=FONTS, font_mono=MONO, text_size="md", radius_size="sm", spacing_size="md")
    colours = {name: f"var(--p-{role})" for name, role in COLOURS.items()}
    known = {**colours, **{f"{name}_dark": value for name, value in colours.items() if hasattr(base, f"{name}_dark")}}
    base.set(
        **known,
        block_border_width="0px", block_padding="0px", block_radius="10px", block_shadow="none",
        block_label_shadow="none", block_title_text_weight="600", block_title_text_size="13px",
        block_info_text_size="13px", input_radius="6px", input_border_width="1px", input_padding="8px 12px",
        input_shadow="none", input_shadow_focus="none", input_text_size="15px", layout_gap="16px", form_gap_width="0px",
        button_large_radius="6px", button_medium_radius="6px", button_small_radius="6px",
        button_large_text_weight="600", button_medium_text_weight="600", button_border_width="1px",
        button_transition="none", button_primary_shadow="none", button_secondary_shadow="none",
        checkbox_label_border_width="1px", checkbox_label_shadow="none", checkbox_label_padding="8px 12px",
        body_text_size="15px", container_radius="10px", shadow_drop="none", shadow_drop_lg="none",
    )  # fmt: skip
    return base
