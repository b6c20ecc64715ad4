"""Hooks by which a fit reports its progress; whoever shows it overrides them."""


class FitProgress:
    """Hooks that show nothing."""

    def stage(self, name: str) -> None:
        """A stage of the fit begins."""

    def epoch(self, done: int, training_loss: float, holdout_loss: float) -> None:
        """So many epochs of a network are done, with these losses."""

    def part(self, done: int, parts: int) -> None:
        """So many parts of a long stage are done, of so many."""


SILENT = FitProgress()
