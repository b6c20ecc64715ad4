"""The topics of the product: one list of them, and how each is made, checked and watched."""
