"""The Studio: Gradio pages over run folders. Layout and callbacks of one call each; what they show is read and drawn in
modules that know no Gradio. Nothing here loads torch or a model."""
