"""How a page writes a special term where it uses it first."""

SPECIFIC_R = "specific r (partial correlation given the other six scores)"
SPECIALISTS = "specialists (for each dimension the single-modality head that did better on validation rows)"
