"""X-ray physics: elements, lines, cross-sections, detector, absorption."""
