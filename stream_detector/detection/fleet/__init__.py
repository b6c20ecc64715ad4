"""Each machine of a fleet by its own scale: learnt in training, or from its own first steps."""
