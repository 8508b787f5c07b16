"""An analysis as one page to hand over."""
